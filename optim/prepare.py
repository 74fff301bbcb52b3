"""From texts to a tokenised dataset: the tokenizer's sample, examples kept and dropped."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.progress import track
from rich.table import Table

from optim.dataset import Branch, DatasetBuilder

BATCH = 1000


class Pair(Protocol):
    """One training text: what is given, what is to be learned, and the task that it belongs to.

    More attributes are optional: `weight` says how often an epoch shows it, on average (1 if absent);
    `linked` is text between prompt and target of which only some tokens bear loss (`tokenise` says which), `given` text behind
    that of which none does;
    `shared` is text before the prompt that the texts next to it begin with too, which is then stored and computed
    once for them together; a text that is `alone` lies among them, but does not begin with it.
    """

    @property
    def prompt(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def task(self) -> str: ...


class Encoder(Protocol):
    """A tokenizer, as far as preparing data needs one."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


def digest(content: Any) -> str:
    """Twelve hex digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def collect(texts: Iterable[Pair], console: Console) -> list[Pair]:
    """All texts, in memory, with a running count on a terminal."""
    if not console.is_terminal:
        return list(texts)
    with console.status("reading training texts") as status:
        pairs = []
        for pair in texts:
            pairs.append(pair)
            if len(pairs) % 1000 == 0:
                status.update(f"reading training texts: {len(pairs):,}")
    return pairs


def sample_texts(pairs: Sequence[Pair], examples: int, seed: int) -> Iterator[str]:
    """The whole texts of a random sample of the examples, each in two parts, the target and what is before it:
    what the tokenizer is trained on.
    """
    for pair in random.Random(seed).sample(pairs, min(examples, len(pairs))):
        yield (
            ("" if getattr(pair, "alone", False) else getattr(pair, "shared", ""))
            + pair.prompt
            + getattr(pair, "linked", "")
            + getattr(pair, "given", "")
        )
        yield pair.target


def tokenise(
    pairs: Sequence[Pair],
    encoder: Encoder,
    *,
    vocabulary: int,
    max_length: int,
    eos: int,
    console: Console,
    learned_in_linked: frozenset[int] = frozenset(),
) -> DatasetBuilder:
    """Encode every pair; a target that has no end-of-sequence token `eos` gets one at its end.

    All of the target bears loss, of the `linked` text the tokens in `learned_in_linked`, of the prompt and of what is `given`
    behind the linked text none.
    """
    builder = DatasetBuilder(vocabulary, max_length)
    shared, branches = "", list[Branch]()

    def finish() -> None:
        if branches:
            builder.add_tree(encoder.encode_batch([shared])[0], branches)
            branches.clear()

    starts = range(0, len(pairs), BATCH)
    for start in track(starts, "tokenising", console=console, disable=not console.is_terminal):
        batch = pairs[start : start + BATCH]
        prompts = encoder.encode_batch([pair.prompt for pair in batch])
        links = encoder.encode_batch([getattr(pair, "linked", "") for pair in batch])
        more = encoder.encode_batch([getattr(pair, "given", "") for pair in batch])
        targets = encoder.encode_batch([pair.target for pair in batch])
        for pair, prompt, linked, given, target in zip(batch, prompts, links, more, targets, strict=True):
            ended = target if eos in target else [*target, eos]
            learned = [False] * len(prompt) + [token in learned_in_linked for token in linked]
            learned += [False] * len(given)
            before = prompt + linked + given
            if getattr(pair, "shared", "") != shared:
                finish()
                shared = getattr(pair, "shared", "")
            if shared:
                alone = getattr(pair, "alone", False)
                branches.append(Branch(before, ended, pair.task, learned, alone))
            else:
                builder.add(before, ended, pair.task, getattr(pair, "weight", 1.0), learned)
    finish()
    return builder


def show_counts(builder: DatasetBuilder, max_length: int, console: Console) -> None:
    """Print how many examples and tokens of each task there are, and how many examples were too long."""
    table = Table("task", "examples", "tokens", f"dropped (over {max_length} tokens, or empty)")
    for task, (kept, dropped, tokens) in sorted(builder.counts.items()):
        table.add_row(task, f"{kept:,}", f"{tokens:,}", f"{dropped:,}")
    total = [sum(column) for column in zip(*builder.counts.values(), strict=True)]
    if total:
        table.add_row("all", f"{total[0]:,}", f"{total[2]:,}", f"{total[1]:,}")
    console.print(table)
