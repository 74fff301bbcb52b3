"""Questions that training leaves out, as files that `suresql eval` reads: to calibrate on, and to test on."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from corpus.demo import build_demo_database
from corpus.demo_questions import Split, demo_questions
from corpus.mixture import HOLDOUT, calibration_databases
from corpus.spider import Example, read_examples


def write_demo(folder: Path, split: Split, count: int, seed: int) -> Path:
    """`count` demo questions of a split and the demo database, both into `folder`; the questions' file."""
    folder.mkdir(parents=True, exist_ok=True)
    database = build_demo_database(folder / "demo.sqlite")
    return _write(folder / f"demo-{split}.jsonl", demo_questions(count, seed, split, database))


def write_spider_calibration(folder: Path, root: Path, count: int, seed: int) -> Path:
    """`count` questions on the databases of Spider's training part that training leaves out, and the databases."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = [e for e in read_examples(root / "spider" / "train.jsonl") if e.sql]
    left_out = calibration_databases([e.db_id for e in examples], HOLDOUT)
    chosen = [e for e in examples if e.db_id in left_out]
    random.Random(seed).shuffle(chosen)
    for name in left_out:
        shutil.copyfile(root / "spider" / "databases" / f"{name}.sqlite", folder / f"{name}.sqlite")
    return _write(folder / "spider-calibration.jsonl", chosen[:count])


def _write(path: Path, examples: Sequence[Example]) -> Path:
    fields = ("id", "question", "sql", "db_id")
    lines = [json.dumps({name: getattr(example, name) for name in fields}) + "\n" for example in examples]
    path.write_text("".join(lines), encoding="utf-8")
    return path
