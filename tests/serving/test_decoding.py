"""The decoding loops agree with plain ones: no batch, no cache, one token at a time over the whole text."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from serving.engines import latents
from serving.engines.bars import Bars
from serving.engines.decoding import Decoded, beam_search, decode, score
from serving.engines.prefixes import SHORTEST, Prefixes

EOS, PAD = 1, 0
PROMPTS = [[5, 9, 3, 7], [4], [8, 8, 2, 6, 11, 12, 13, 14, 9], [3, 10]]
END = 23  # of a prefix
AMPLE = 2**20


@cache
def tiny(seed: int, **shape: int) -> DeepseekV3ForCausalLM:
    torch.manual_seed(seed)
    config = DeepseekV3Config(
        vocab_size=24, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=2, n_shared_experts=1, n_routed_experts=4, n_group=1,
        num_experts_per_tok=2, topk_group=1, first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=16,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    for name, value in shape.items():
        setattr(config, name, value)
    model = DeepseekV3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def model() -> DeepseekV3ForCausalLM:
    return tiny(3)


@torch.inference_mode()
def next_logprobs(model: DeepseekV3ForCausalLM, ids: list[int]) -> torch.Tensor:
    """The oracle: a forward pass over the whole text."""
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().log_softmax(-1)


def plain_greedy(
    model: DeepseekV3ForCausalLM, prompt: list[int], steps: int, allowed: list[int] | None = None
) -> list[int]:
    written: list[int] = []
    while len(written) < steps and EOS not in written:
        logprobs = next_logprobs(model, prompt + written)
        if allowed is not None:
            barred = torch.ones(len(logprobs), dtype=torch.bool)
            barred[[*allowed, EOS]] = False
            logprobs = logprobs.masked_fill(barred, -torch.inf)
        written.append(int(logprobs.argmax()))
    return written


@torch.inference_mode()
def test_a_batch_decodes_each_prompt_as_if_alone(model: DeepseekV3ForCausalLM) -> None:
    found = decode(model, PROMPTS, max_tokens=12, eos_id=EOS, pad_id=PAD)
    for prompt, (one,) in zip(PROMPTS, found, strict=True):
        expected = plain_greedy(model, prompt, 12)
        assert list(one.ids) == expected
        assert one.stopped == (expected[-1] == EOS)


@torch.inference_mode()
def test_logprobs_are_those_of_a_full_forward_pass_also_under_a_mask(model: DeepseekV3ForCausalLM) -> None:
    allowed = [[3, 4, 5, 6], None, [2], list(range(24))]
    found = decode(model, PROMPTS, max_tokens=6, eos_id=EOS, pad_id=PAD, bars=Bars(allowed, None, EOS))
    for prompt, mask, (one,) in zip(PROMPTS, allowed, found, strict=True):
        assert list(one.ids) == plain_greedy(model, prompt, 6, mask)
        assert mask is None or set(one.ids) <= {*mask, EOS}
        for i, (token, logprob) in enumerate(zip(one.ids, one.logprobs, strict=True)):
            assert logprob == pytest.approx(
                float(next_logprobs(model, prompt + list(one.ids[:i]))[token]), abs=1e-4
            )


@torch.inference_mode()
def test_scores_are_the_logprobs_of_a_full_forward_pass(model: DeepseekV3ForCausalLM) -> None:
    continuations = [[2, 3], [9, 9, 9, 1], [], [7]]
    found = score(model, PROMPTS, continuations, PAD)
    for prompt, continuation, logprobs in zip(PROMPTS, continuations, found, strict=True):
        expected = [
            float(next_logprobs(model, prompt + continuation[:i])[token])
            for i, token in enumerate(continuation)
        ]
        assert logprobs == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_a_beam_that_holds_every_text_finds_the_best_of_them_all(model: DeepseekV3ForCausalLM) -> None:
    few, steps = [2, 3], 3
    best = []
    for prompt in PROMPTS:
        totals = []
        for length in range(steps):
            for body in itertools.product(few, repeat=length):
                (logprobs,) = score(model, [prompt], [[*body, EOS]], PAD)
                totals.append((sum(logprobs), (*body, EOS)))
        best.append(sorted(totals, reverse=True))
    found = beam_search(
        model,
        PROMPTS,
        beams=7,
        max_tokens=steps,
        eos_id=EOS,
        pad_id=PAD,
        bars=Bars([few] * len(PROMPTS), None, EOS),
    )
    for expected, several in zip(best, found, strict=True):
        stopped = [one for one in several if one.stopped]
        assert [one.ids for one in stopped] == [ids for _, ids in expected][: len(stopped)]
        assert [sum(one.logprobs) for one in stopped] == pytest.approx(
            [t for t, _ in expected][: len(stopped)], abs=1e-3
        )
        assert len(stopped) == 7


@torch.inference_mode()
def test_beams_of_a_batch_are_those_of_each_prompt_alone(model: DeepseekV3ForCausalLM) -> None:
    together = beam_search(model, PROMPTS, beams=3, max_tokens=8, eos_id=EOS, pad_id=PAD)
    for prompt, several in zip(PROMPTS, together, strict=True):
        (alone,) = beam_search(model, [prompt], beams=3, max_tokens=8, eos_id=EOS, pad_id=PAD)
        assert [one.ids for one in several] == [one.ids for one in alone]
        assert len({one.ids for one in several}) == len(several) == 3
        for one in several:
            (logprobs,) = score(model, [prompt], [list(one.ids)], PAD)
            assert one.logprobs == pytest.approx(logprobs, abs=1e-4)


@torch.inference_mode()
def test_one_beam_is_greedy(model: DeepseekV3ForCausalLM) -> None:
    found = beam_search(model, PROMPTS, beams=1, max_tokens=10, eos_id=EOS, pad_id=PAD)
    assert [[one.ids for one in several] for several in found] == [
        [one.ids for one in several]
        for several in decode(model, PROMPTS, max_tokens=10, eos_id=EOS, pad_id=PAD)
    ]


@torch.inference_mode()
def test_samples_follow_the_model_and_their_seed(model: DeepseekV3ForCausalLM) -> None:
    def draw(seed: int) -> list[int]:
        (several,) = decode(
            model, [PROMPTS[0]], max_tokens=1, eos_id=EOS, pad_id=PAD, n=4_000, temperature=1.0,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return [one.ids[0] for one in several]

    first = draw(1)
    assert first == draw(1) != draw(2)
    frequencies_V = torch.bincount(torch.tensor(first), minlength=24) / len(first)
    assert torch.allclose(frequencies_V, next_logprobs(model, PROMPTS[0]).exp(), atol=0.04)


MODELS = [
    (3, {}),
    (4, {"qk_nope_head_dim": 4, "v_head_dim": 12, "q_lora_rank": 8}),
    (5, {"num_attention_heads": 3, "num_key_value_heads": 3, "num_hidden_layers": 1, "kv_lora_rank": 5}),
]
ids = st.integers(2, END - 1)
starts_of_a_batch = st.lists(
    st.lists(ids, min_size=SHORTEST, max_size=SHORTEST + 6) | st.lists(ids, max_size=3),
    min_size=1,
    max_size=3,
)


@st.composite
def batches(draw: st.DrawFn) -> list[list[int]]:
    """Prompts on a few prefixes, some too short to be kept, in any order; some have no end of a prefix at all."""
    starts = draw(starts_of_a_batch)
    prompts = st.tuples(
        st.sampled_from(starts), st.sampled_from([[END], [END], [2]]), st.lists(ids, max_size=9)
    )
    return [[*start, *mark, *rest] for start, mark, rest in draw(st.lists(prompts, min_size=1, max_size=6))]


def assert_alike(found: list[list[Decoded]], expected: list[list[Decoded]]) -> None:
    assert [[one.ids for one in several] for several in found] == [
        [one.ids for one in several] for several in expected
    ]
    for one, other in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.stopped == other.stopped


@given(batches(), st.sampled_from(MODELS), st.sampled_from([64, 3]), st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
@torch.inference_mode()
def test_prefixes_that_are_kept_change_no_result(
    prompts: list[list[int]], of: tuple[int, dict[str, int]], most_new: int, data: st.DataObject
) -> None:
    model = tiny(of[0], **of[1])
    ends = {"eos_id": EOS, "pad_id": PAD}
    continuations = [data.draw(st.lists(st.integers(1, END), max_size=5)) for _ in prompts]
    allowed = [data.draw(st.sampled_from([None, [2, 3, 5, 7, 11, 13]])) for _ in prompts]

    def answers(prefixes: Prefixes | None) -> list[list[list[Decoded]]]:
        return [
            decode(model, prompts, max_tokens=4, bars=Bars(allowed, None, EOS), prefixes=prefixes, **ends),
            beam_search(model, prompts, beams=3, max_tokens=4, bars=Bars(allowed, None, EOS), prefixes=prefixes, **ends),
            decode(
                model, prompts, max_tokens=4, n=3, temperature=1.5, prefixes=prefixes,
                generator=torch.Generator().manual_seed(0), **ends,
            ),
        ]  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latents, "MOST_NEW", most_new)  # both ways of reading what follows a prefix
        plain = answers(None)
        for prompt, several in zip(prompts, plain[1], strict=True):
            for one in several:
                assert one.logprobs == pytest.approx(plain_score(model, prompt, one.ids), abs=1e-4)
        ample = Prefixes(END, AMPLE)  # cold, then warm; and one that holds little
        bytes_each = 4 * model.config.num_hidden_layers * (model.config.kv_lora_rank + 8)  # of a token
        for kept in (ample, ample, Prefixes(END, bytes_each * (SHORTEST + 6))):
            for found, expected in zip(answers(kept), plain, strict=True):
                assert_alike(found, expected)
            for prompt, continuation, logprobs in zip(
                prompts, continuations, score(model, prompts, continuations, PAD, kept), strict=True
            ):
                assert logprobs == pytest.approx(plain_score(model, prompt, continuation), abs=1e-4)
    assert ample.bytes == sum(
        len(start) * bytes_each
        for start in {tuple(p[: p.index(END)]) for p in prompts if END in p}
        if len(start) >= SHORTEST
    )


@torch.inference_mode()
def plain_score(model: DeepseekV3ForCausalLM, prompt: Sequence[int], written: Sequence[int]) -> list[float]:
    """The oracle: one forward pass over the whole text, alone and without a cache."""
    logits = model(torch.tensor([[*prompt, *written]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    logprobs_TV = logits.float().log_softmax(-1)
    return [float(row_V[token]) for row_V, token in zip(logprobs_TV, written, strict=True)]


@pytest.fixture
def passes(model: DeepseekV3ForCausalLM) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of what the model is given to read, pass by pass."""
    seen: list[tuple[int, ...]] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()


@torch.inference_mode()
def test_a_prefix_is_read_once(model: DeepseekV3ForCausalLM, passes: list[tuple[int, ...]]) -> None:
    one, other = list(range(2, 2 + SHORTEST)), [7] * (SHORTEST + 4)
    prompts = [[*start, END, 5, 6] for start in (one, other, one, one, other)]
    kept = Prefixes(END, AMPLE)
    beam_search(model, prompts, beams=2, max_tokens=1, eos_id=EOS, pad_id=PAD, prefixes=kept)
    assert passes == [(2, SHORTEST + 4), (5, 3)]
    score(model, [[*other, END, 9, 9, 9, 9]], [[3, 4]], PAD, kept)
    assert passes[2:] == [(1, 7)]


def reads(log: list[tuple[int, ...]]) -> Callable[[Sequence[tuple[int, ...]]], list[torch.Tensor]]:
    def read(missing: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
        log.extend(missing)
        return [torch.zeros(1, len(one), 1) for one in missing]

    return read


def test_what_was_used_longest_ago_is_dropped_first() -> None:
    log: list[tuple[int, ...]] = []
    kept = Prefixes(END, max_bytes=4 * 3)  # of a float a token
    for wanted in ([(1,)], [(2,)], [(3,)], [(1,)], [(4,)], [(1,), (2,)]):
        assert list(kept.get(wanted, reads(log))) == wanted
        assert kept.bytes <= 12
    assert log == [(1,), (2,), (3,), (4,), (2,)]


def test_a_prefix_too_large_to_keep_drops_no_other() -> None:
    log: list[tuple[int, ...]] = []
    kept = Prefixes(END, max_bytes=4 * 3)
    kept.get([(1,)], reads(log))
    kept.get([(2,) * 4, (2,) * 4], reads(log))
    kept.get([(1,)], reads(log))
    assert log == [(1,), (2,) * 4]
    assert kept.bytes == 4


def test_a_read_that_fails_keeps_nothing() -> None:
    kept = Prefixes(END, AMPLE)
    with pytest.raises(MemoryError):
        kept.get([(1,)], lambda _: (_ for _ in ()).throw(MemoryError))
    assert kept.bytes == 0
    assert kept.get([(1,)], reads(log := [])) and log == [(1,)]


def test_a_prefix_ends_before_the_first_mark_and_is_worth_its_pass() -> None:
    enough = [3] * SHORTEST
    assert Prefixes(END, 1).length([*enough, END, 4, END]) == SHORTEST
    assert Prefixes(END, 1).length([*enough[1:], END, 4]) == 0
    assert Prefixes(END, 1).length([*enough, 4]) == 0
    assert Prefixes(END, 0).length([*enough, END]) == Prefixes(None, 1).length([*enough, END]) == 0


@torch.inference_mode()
def test_scores_need_no_pass_over_the_prefix_though_the_continuation_has_its_mark(
    model: DeepseekV3ForCausalLM,
) -> None:
    prompt, continuation = [3] * SHORTEST, [4, END, 5]
    (found,) = score(model, [prompt], [continuation], PAD, Prefixes(END, AMPLE))
    assert found == pytest.approx(plain_score(model, prompt, continuation), abs=1e-4)
