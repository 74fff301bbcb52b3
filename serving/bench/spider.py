"""Execution accuracy and confidence on Spider's development questions, on databases that training never saw."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from corpus.errors import CorpusError
from corpus.spider import Example, read_examples

from ..assembly import load_pipeline
from ..errors import EvaluationError
from ..evaluation import evaluate
from ..settings import Settings

QUESTIONS, SEED = 300, 1


def run(settings: Settings) -> dict[str, Any]:
    """The metrics of `suresql eval` on 300 questions, drawn with a seed. A development set: not for claims."""
    examples, databases = spider_dev(settings)
    chosen = random.Random(SEED).sample(examples, min(QUESTIONS, len(examples)))
    fields = ("id", "question", "sql", "db_id")
    lines = [json.dumps({field: getattr(one, field) for field in fields}) for one in chosen]
    with tempfile.TemporaryDirectory() as name:
        questions = Path(name) / "questions.jsonl"
        questions.write_text("\n".join(lines), encoding="utf-8")
        return evaluate(load_pipeline(settings), questions, databases, Path(name) / "predictions.jsonl")


def spider_dev(settings: Settings) -> tuple[list[Example], Path]:
    """Spider's development questions, and the folder of their databases. Raises EvaluationError."""
    if settings.data is None:
        raise EvaluationError(
            "Spider's questions are not in this package.", "Set SURESQL_DATA to the folder of the data sets."
        )
    root = settings.data / "spider"
    try:
        examples = read_examples(root / "dev.jsonl")
    except CorpusError as error:
        raise EvaluationError(str(error), "Set SURESQL_DATA to the folder that holds spider/.") from error
    if not (root / "databases").is_dir():
        raise EvaluationError(
            f"There is no folder {root / 'databases'}.", "Set SURESQL_DATA to the folder that holds spider/."
        )
    return examples, root / "databases"
