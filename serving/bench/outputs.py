"""What other confidence methods need of the very answers that ours was given of: samples, and each token's alternatives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus import references
from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.errors import CorpusError
from corpus.fold import fold, unfold
from corpus.spider import Example, read_examples

from ..databases import Database
from ..engines.embedded import EmbeddedEngine
from ..errors import EvaluationError
from ..ours import ReferenceWriter
from ..pipeline import Pipeline
from ..predictions import Judged
from . import demo, spider

SAMPLES, SEED, BATCH = 5, 1, 16
ALTERNATIVES = 10
"""Most probable tokens kept at each position."""


@dataclass(frozen=True)
class Outputs:
    """The answers that have all that the peers need, in one order: as they get them, and as they were judged."""

    answers: list[dict[str, Any]]
    judged: list[Judged]

    @property
    def correct(self) -> list[bool]:
        return [bool(one.correct) for one in self.judged]

    @classmethod
    def read(cls, path: Path, judged: Sequence[Judged]) -> Outputs:
        by_id = {str(one.id): one for one in judged if one.sql}
        lines = (
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            if path.exists()
            else []
        )
        answers = [line for line in lines if line["id"] in by_id]
        return cls(answers, [by_id[line["id"]] for line in answers])


def demo_questions_in(folder: Path, count: int = demo.QUESTIONS) -> tuple[Path, Path]:
    """The questions of `suresql bench demo`, or the first of them, and their database."""
    database = build_demo_database(folder / "demo.sqlite")
    questions = demo_questions(demo.QUESTIONS, demo.SEED, "test", database)
    return _write(folder, questions[:count]), folder


def spider_questions_in(folder: Path, data: Path, count: int) -> tuple[Path, Path]:
    """The first `count` of Spider's development questions, shuffled: with 300, those of `suresql bench spider`."""
    import random

    try:
        examples = read_examples(data / "spider" / "dev.jsonl")
    except CorpusError as error:
        raise EvaluationError(str(error), "Set SURESQL_DATA to the folder that holds spider/.") from error
    chosen = random.Random(spider.SEED).sample(examples, min(count, len(examples)))
    return _write(folder, chosen), data / "spider" / "databases"


def keep_outputs(
    pipeline: Pipeline, questions: Path, databases: Path, judged: Sequence[Judged], out: Path
) -> None:
    """Samples at temperature 1 and alternatives at each token, of the answers that have SQL. On an engine that does not tell
    alternatives the file stays empty.
    """
    engine = pipeline.engine
    answered = {str(one.id): one for one in judged if one.sql}
    examples = [one for one in read_examples(questions) if one.id in answered]
    writer = pipeline.writer
    if not isinstance(engine, EmbeddedEngine) or not isinstance(writer, ReferenceWriter):
        out.write_text("", encoding="utf-8")
        return
    known: dict[str, Database] = {}
    lines = []
    for start in range(0, len(examples), BATCH):
        some = examples[start : start + BATCH]
        for one in some:
            known.setdefault(one.db_id, Database(one.db_id, databases / f"{one.db_id}.sqlite"))
        prompts = [
            references.ask(
                one.question, known[one.db_id].schema(), known[one.db_id].contents(), near=writer.near
            )
            for one in some
        ]
        written: list[str | None] = []
        for one, prompt in zip(some, prompts, strict=True):
            try:
                written.append(fold(answered[one.id].sql, prompt.binding))
            except CorpusError:  # the answer's own spelling does not come back: not for the peers
                written.append(None)
        use = [i for i, text in enumerate(written) if text is not None]
        texts = [prompts[i].text for i in use]
        samples = engine.generate(texts, max_tokens=160, n=SAMPLES, temperature=1.0, seed=SEED + start)
        alternatives = engine.alternatives(texts, [written[i] or "" for i in use], ALTERNATIVES)
        for i, sampled, (logprobs, entropies, tops) in zip(use, samples, alternatives, strict=True):
            lines.append(
                {
                    "id": some[i].id,
                    "text": answered[some[i].id].sql,
                    "logprobs": logprobs,
                    "entropies": entropies,
                    "tops": tops,
                    "samples": [_sql(one.text, prompts[i]) for one in sampled],
                    "sample_logprobs": [list(one.logprobs) for one in sampled],
                }
            )
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _sql(text: str, prompt: references.Prompt) -> str:
    try:
        return unfold(text, prompt.binding)
    except (CorpusError, RecursionError):
        return text


def _write(folder: Path, examples: Sequence[Example]) -> Path:
    fields = ("id", "question", "sql", "db_id")
    lines = [json.dumps({name: getattr(one, name) for name in fields}) + "\n" for one in examples]
    path = folder / "questions.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path
