"""How much of the training data's SQL the grammar takes: nothing that is valid should be ruled out."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus.errors import FoldError, UnfoldError
from corpus.fold import fold, unfold
from corpus.grammar_tokens import Grammar, Vocabulary
from corpus.mixture import _sources
from corpus.references import ask

SHOWN = 5


def coverage(
    data: dict[str, Any],
    vocabulary: Vocabulary,
    encode: Callable[[str], Sequence[int]],
    seed: int = 1,
    most: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Of each source of a training configuration: how many queries fold, how many of them the grammar takes, and some that
    it does not. `most` takes so many of each source, spread evenly.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in _sources(data, seed, Path(folder)):
            examples = source.examples[:: max(1, len(source.examples) // most)] if most else source.examples
            counts: Counter[str] = Counter()
            refused: list[str] = []
            for example in examples:
                outcome, folded = _outcome(example, source.database(example.db_id), vocabulary, encode)
                counts[outcome] += 1
                if outcome == "refused" and len(refused) < SHOWN:
                    refused.append(folded)
            well_formed = counts["accepted"] + counts["refused"]
            found[source.name] = {
                **{name: counts[name] for name in ("accepted", "refused", "not unfolded", "not folded")},
                "share": counts["accepted"] / well_formed if well_formed else None,
                "examples_refused": refused,
            }
    return found


def _outcome(
    example: Any, database: Any, vocabulary: Vocabulary, encode: Callable[[str], Sequence[int]]
) -> tuple[str, str]:
    prompt = ask(example.question, *database)
    try:
        folded = fold(example.sql or "", prompt.binding)
    except FoldError:
        return "not folded", ""
    if Grammar(prompt.binding, vocabulary).accepts(encode(folded)):
        return "accepted", folded
    try:
        unfold(folded, prompt.binding)
    except UnfoldError:
        return "not unfolded", folded
    return "refused", folded
