"""Fits the weights of the evidence (`sqlconf.evidence`) on candidates for questions that training had.

    python -m serving.evidence PATH_OF_DATA [--questions 3000] [--out FILE]

The databases are those that the model was trained on, Spider's and the authored ones, so that its first choice is mostly right
there; what it considered beside it is right or wrong as it comes, and wrong in the way in which a model is wrong. Calibration
databases and dev are not among them: what a calibration says of this signal is said of databases that it never saw.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpus.authored import (
    authored_files,
    authored_questions,
    build_authored_database,
    kept_for_calibration,
    read_authored,
)
from corpus.compare import is_ordered, same_answer
from corpus.mixture import HOLDOUT, calibration_databases
from corpus.spider import Example, read_examples
from sqlconf.coverage import Aligner
from sqlconf.embedding import Embedder
from sqlconf.evidence import WEIGHTS, Evidence, EvidenceWeights
from sqlconf.signal import Answer

from .assembly import contents_of, load_pipeline
from .databases import Database
from .errors import ServingError
from .ours import ReferenceWriter
from .pipeline import Pipeline
from .settings import Settings, load_settings

QUESTIONS, CANDIDATES, BATCH, SEED = 3_000, 6, 16, 1
RIGHT, WRONG = 2, 3
"""Statements taken for a question, at most, the likeliest first."""
LIMITS: dict[str, Any] = {"max_rows": 20_000, "max_bytes": 2**22, "timeout_s": 2.0}


@dataclass(frozen=True)
class Labelled:
    """A statement that was considered for a question, as an answer."""

    question: str
    database: str
    answer: Answer
    right: bool


def fit(settings: Settings, data: Path, questions: int = QUESTIONS) -> EvidenceWeights:
    """Raises ConfidenceError, CorpusError or CheckpointError."""
    measure = Evidence(Aligner(Embedder(remember=20_000)), contents_of)
    rows, found = [], []
    for labelled in statements(settings, data, questions):
        for one, traits in zip(labelled, measure.traits([one.answer for one in labelled]), strict=True):
            if traits is not None:
                rows.append(one)
                found.append(traits)
    return EvidenceWeights.fit(
        found, [one.right for one in rows], [one.database for one in rows], [one.question for one in rows]
    )


def statements(settings: Settings, data: Path, questions: int) -> Iterator[list[Labelled]]:
    """What the model considers for questions on its training databases, each judged, by batches."""
    update = {"profile": "fast", "precision": None, "candidates": CANDIDATES, "fusion": data / "none.json"}
    pipeline = load_pipeline(settings.model_copy(update=update))
    assert isinstance(pipeline.writer, ReferenceWriter), "an engine of ours, unless told otherwise"
    pipeline.signals = []
    with tempfile.TemporaryDirectory() as made:
        yield from _considered(pipeline, training_questions(data, questions, Path(made)))


def _considered(pipeline: Pipeline, asked: Sequence[tuple[Example, Path]]) -> Iterator[list[Labelled]]:
    known: dict[Path, Database] = {}
    started = time.monotonic()
    for start in range(0, len(asked), BATCH):
        some = asked[start : start + BATCH]
        for one, path in some:
            known.setdefault(path, Database(one.db_id, path))
        results = pipeline.ask([(one.question, known[path]) for one, path in some])
        yield [
            labelled
            for (one, path), result in zip(some, results, strict=True)
            if result.answer is not None
            for labelled in _judged(one, result.answer, known[path])
        ]
        print(f"{start + len(some)} of {len(asked)}, {time.monotonic() - started:.0f} s", file=sys.stderr)


def training_questions(data: Path, count: int, folder: Path) -> list[tuple[Example, Path]]:
    """`count` questions that training had, each with its database: two thirds Spider's, the others authored, whose databases
    are made in `folder`.
    """
    examples = [one for one in read_examples(data / "spider" / "train.jsonl") if one.sql]
    left_out = calibration_databases([one.db_id for one in examples], HOLDOUT)
    root = data / "spider" / "databases"
    found = [(one, root / f"{one.db_id}.sqlite") for one in examples if one.db_id not in left_out]
    written: list[tuple[Example, Path]] = []
    for file in authored_files():
        if not kept_for_calibration(file.stem, HOLDOUT):
            authored = read_authored(file)
            path = build_authored_database(authored, folder / f"{authored.name}.sqlite")
            written += [(one, path) for one in authored_questions(authored, path, 1, SEED)]
    rng = random.Random(SEED)
    some = rng.sample(written, min(count // 3, len(written)))
    chosen = rng.sample(found, min(count - len(some), len(found))) + some
    rng.shuffle(chosen)
    return chosen


def _judged(example: Example, answer: Answer, database: Database) -> list[Labelled]:
    """Nothing where the known SQL gives no rows: nearly any statement of no rows would be right."""
    assert example.sql is not None
    try:
        gold, ordered = database.execute_known(example.sql, **LIMITS).rows, is_ordered(example.sql)
    except ServingError:
        return []
    if not any(cell is not None for row in gold for cell in row):
        return []
    found: dict[str, Labelled] = {}
    for candidate in answer.candidates:
        if not candidate.sql or candidate.sql in found:
            continue
        try:
            rows = database.execute(candidate.sql, **LIMITS).rows
        except ServingError:
            continue
        right = same_answer(gold, rows, ordered=ordered)
        found[candidate.sql] = Labelled(
            example.id, example.db_id, replace(answer, sql=candidate.sql), right
        )  # fmt: skip
    both = ([one for one in found.values() if one.right is right] for right in (True, False))
    return [one for some, most in zip(both, (RIGHT, WRONG), strict=True) for one in some[:most]]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder of the data sets, which holds spider/")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args(given)
    weights = fit(load_settings(), options.data, options.questions)
    weights.save(options.out)
    print(
        f"{weights.statements} statements for {weights.questions} questions on {weights.databases} databases: {options.out}"
    )


if __name__ == "__main__":
    main()
