"""Execution accuracy and confidence on demo questions of wordings and values that training never saw."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions

from ..assembly import load_pipeline
from ..evaluation import evaluate
from ..settings import Settings

QUESTIONS, SEED = 200, 1


def run(settings: Settings) -> dict[str, Any]:
    """The metrics of `suresql eval` on 200 generated questions of the test split."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = build_demo_database(folder / "demo.sqlite")
        lines = [
            json.dumps({"id": one.id, "question": one.question, "sql": one.sql, "db_id": one.db_id})
            for one in demo_questions(QUESTIONS, SEED, "test", file)
        ]
        questions = folder / "questions.jsonl"
        questions.write_text("\n".join(lines), encoding="utf-8")
        return evaluate(load_pipeline(settings), questions, folder, folder / "predictions.jsonl")
