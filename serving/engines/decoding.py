"""Decoding loops over transformers' DeepseekV3ForCausalLM: one batch, left-padded, prompts shared by their rows.

    B prompts in the batch;  K beams or samples of each;  R = B*K rows;  T tokens;  V vocabulary

Prompts leave the batch as they finish, so that a step costs what the unfinished ones cost. Where `Prefixes` are given,
what they keep of a prompt is not computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from .bars import Bars
from .passes import Rows, read
from .prefixes import Prefixes


@dataclass(frozen=True)
class Decoded:
    """Token ids and their log-probabilities under the unmasked model; `stopped` at the end token."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    eos_id: int,
    pad_id: int,
    n: int = 1,
    temperature: float = 0.0,
    bars: Bars | None = None,
    generator: torch.Generator | None = None,
    prefixes: Prefixes | None = None,
) -> list[list[Decoded]]:
    """Greedy decoding, or n samples of each prompt where the temperature is above 0."""
    rows = Rows(model, prompts, pad_id, n, prefixes)
    V = rows.logprobs_RV.shape[1]
    states: list[Any] = [None if bars is None else bars.start(row // n) for row in range(len(prompts) * n)]
    number_R = torch.arange(len(prompts) * n)  # which of the n*B answers a row is
    ids: list[list[int]] = [[] for _ in number_R]
    logprobs: list[list[float]] = [[] for _ in number_R]
    stopped = [False] * len(number_R)
    for position in range(max_tokens):
        choice_RV = rows.logprobs_RV
        if bars is not None:
            numbers = number_R.tolist()
            barred_RV = bars.of([(i // n, states[i]) for i in numbers], V, max_tokens - position)
            choice_RV = choice_RV.masked_fill(barred_RV, -torch.inf)
        if temperature > 0:
            tokens_R = torch.multinomial((choice_RV / temperature).softmax(-1), 1, generator=generator)[:, 0]
        else:
            tokens_R = choice_RV.argmax(-1)
        chosen_R = rows.logprobs_RV.gather(1, tokens_R[:, None])[:, 0]
        for number, token, logprob in zip(
            number_R.tolist(), tokens_R.tolist(), chosen_R.tolist(), strict=True
        ):
            if not stopped[number]:
                ids[number].append(token)
                logprobs[number].append(logprob)
                stopped[number] = token == eos_id
                if bars is not None and not stopped[number]:
                    states[number] = bars.after(number // n, states[number], token)
        ended_RK = torch.tensor([stopped[number] for number in number_R.tolist()]).view(-1, n)
        live = (
            (~ended_RK.all(1)).repeat_interleave(n).nonzero()[:, 0]
        )  # with the ended of a prompt that goes on
        if not len(live) or position == max_tokens - 1:
            break
        rows.keep(live)
        number_R = number_R[live]
        rows.step(tokens_R[live])
    done = [Decoded(tuple(i), tuple(p), s) for i, p, s in zip(ids, logprobs, stopped, strict=True)]
    return [done[start : start + n] for start in range(0, len(done), n)]


def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    beams: int,
    max_tokens: int,
    eos_id: int,
    pad_id: int,
    bars: Bars | None = None,
    prefixes: Prefixes | None = None,
) -> list[list[Decoded]]:
    """The `beams` likeliest continuations of each prompt that a beam search of that width finds, best first.

    A continuation's score is the sum of its unmasked log-probabilities; a mask only bars tokens. Sums never
    grow, so a prompt is done once K have ended and no live one is better than the worst of them.
    """
    K = beams
    rows = Rows(model, prompts, pad_id, K, prefixes)
    V = rows.logprobs_RV.shape[1]
    states: list[list[Any]] = [[None if bars is None else bars.start(b)] * K for b in range(len(prompts))]
    live_B = list(range(len(prompts)))
    finished: list[list[Decoded]] = [[] for _ in prompts]
    hypotheses: list[list[tuple[tuple[int, ...], tuple[float, ...]]]] = [[((), ())] * K for _ in prompts]
    scores_BK = torch.full((len(prompts), K), -torch.inf)
    scores_BK[:, 0] = 0.0  # all beams of a prompt begin alike; one is enough
    for position in range(max_tokens):
        step_BKV = rows.logprobs_RV.view(len(live_B), K, V)
        masked_BKV = step_BKV
        if bars is not None:
            barred_RV = bars.of([(b, state) for b in live_B for state in states[b]], V, max_tokens - position)
            masked_BKV = step_BKV.masked_fill(barred_RV.view_as(step_BKV), -torch.inf)
        total_BX = (scores_BK[:, :, None] + masked_BKV).flatten(1)
        # Each beam ends in one way at most, so among 2K there are K that go on, if that many there are.
        best_B2K, index_B2K = total_BX.topk(min(2 * K, total_BX.shape[1]), dim=1)
        keep: list[int] = []
        tokens: list[int] = []
        scores: list[list[float]] = []
        still_live: list[int] = []
        for b, prompt in enumerate(live_B):
            chosen: list[tuple[float, int, int, tuple[tuple[int, ...], tuple[float, ...]]]] = []
            for score, index in zip(best_B2K[b].tolist(), index_B2K[b].tolist(), strict=True):
                beam, token = divmod(index, V)
                if score == -float("inf") or len(chosen) == K:
                    break
                ids, logprobs = hypotheses[prompt][beam]
                longer = ((*ids, token), (*logprobs, float(step_BKV[b, beam, token])))
                if token == eos_id:
                    finished[prompt].append(Decoded(*longer, stopped=True))
                else:
                    chosen.append((score, beam, token, longer))
            finished[prompt] = sorted(finished[prompt], key=lambda one: -sum(one.logprobs))[:K]
            hypotheses[prompt] = [one[3] for one in chosen]
            if bars is not None:
                before = states[prompt]
                states[prompt] = [bars.after(prompt, before[one[1]], one[2]) for one in chosen]
                states[prompt] += [bars.start(prompt)] * (K - len(chosen))
            full = len(finished[prompt]) == K
            if not chosen or (full and chosen[0][0] <= sum(finished[prompt][-1].logprobs)):
                continue
            still_live.append(prompt)
            missing = K - len(
                chosen
            )  # too few tokens are allowed to fill the beam: repeat one that cannot win
            keep += [b * K + one[1] for one in chosen] + [b * K] * missing
            tokens += [one[2] for one in chosen] + [pad_id] * missing
            scores.append([one[0] for one in chosen] + [-float("inf")] * missing)
            hypotheses[prompt] += [((), ())] * missing
        live_B = still_live
        if not live_B or position == max_tokens - 1:
            break
        scores_BK = torch.tensor(scores)
        rows.keep(torch.tensor(keep))
        rows.step(torch.tensor(tokens))
    for prompt in live_B:  # cut short: what was still being written
        unfinished = [Decoded(ids, logprobs, stopped=False) for ids, logprobs in hypotheses[prompt] if ids]
        finished[prompt] = (finished[prompt] + unfinished)[:K]
    return finished


def score(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    pad_id: int,
    prefixes: Prefixes | None = None,
) -> list[tuple[float, ...]]:
    """Log-probabilities of each continuation's tokens, by one forward pass over prompts and continuations."""
    longest = max(map(len, continuations))
    if longest == 0:
        return [()] * len(prompts)
    logits_BTV, _, _ = read(model, prompts, pad_id, prefixes, continuations)
    logprobs_BTV = logits_BTV[:, :-1].float().log_softmax(-1)
    targets_BT = torch.tensor([[pad_id] * (longest - len(c)) + [*c] for c in continuations])
    picked_BT = logprobs_BTV.gather(2, targets_BT[:, :, None])[:, :, 0]
    return [tuple(row[longest - len(c) :].tolist()) for row, c in zip(picked_BT, continuations, strict=True)]


def alternatives(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    pad_id: int,
    most: int,
    prefixes: Prefixes | None = None,
) -> list[tuple[list[float], list[float], list[list[float]]]]:
    """Of each continuation's tokens: log-probability, entropy of the whole distribution, its `most` largest log-probabilities."""
    logits_BTV, _, _ = read(model, prompts, pad_id, prefixes, continuations)
    found = []
    longest = max(map(len, continuations))
    for logits_TV, ids in zip(logits_BTV[:, :-1].float(), continuations, strict=True):
        logprobs_TV = logits_TV[longest - len(ids) :].log_softmax(-1)
        own_T = logprobs_TV.gather(1, torch.tensor([*ids], dtype=torch.long)[:, None])[:, 0]
        entropy_T = -(logprobs_TV.exp() * logprobs_TV).sum(-1)
        found.append((own_T.tolist(), entropy_T.tolist(), logprobs_TV.topk(most).values.tolist()))
    return found
