"""Questions as files that `suresql eval` reads: those that training leaves out, to calibrate and to test on; and
others that a half-trained model attempts, to learn from its own mistakes.
"""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from corpus.authored import (
    authored_files,
    authored_questions,
    build_authored_database,
    kept_for_calibration,
    read_authored,
)
from corpus.demo import build_demo_database
from corpus.demo_questions import Split, demo_questions
from corpus.mixture import ATTEMPTED, HOLDOUT, calibration_databases
from corpus.spider import DatabaseFolder, Example, read_examples
from corpus.synthetic import synthetic_questions


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


def write_authored_calibration(folder: Path, count: int, seed: int) -> Path:
    """`count` questions on the authored databases that training leaves out, each statement worded once or more."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen: list[Example] = []
    for file in authored_files():
        if not kept_for_calibration(file.stem, HOLDOUT):
            continue
        authored = read_authored(file)
        path = folder / f"{authored.name}.sqlite"
        path.unlink(missing_ok=True)
        chosen += authored_questions(authored, build_authored_database(authored, path), 2, seed)
    random.Random(seed).shuffle(chosen)
    return _write(folder / "authored-calibration.jsonl", chosen[:count])


def write_attempts(folder: Path, root: Path, count: int, seed: int) -> Path:
    """`count` generated questions that training may see, half on the demo, half on databases of Spider's training part,
    and the databases. What a model makes of them, judged, is the training data `attempts`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    demo = build_demo_database(folder / "demo.sqlite")
    db_ids = {e.db_id for e in read_examples(root / "spider" / "train.jsonl")}
    kept = sorted(db_ids - calibration_databases(sorted(db_ids), HOLDOUT))
    databases = DatabaseFolder(root / "spider" / "databases")
    synthetic: list[Example] = []
    for i, name in enumerate(kept):
        shutil.copyfile(databases.path(name), folder / f"{name}.sqlite")
        own = count // 2 * (i + 1) // len(kept) - count // 2 * i // len(kept)
        synthetic += synthetic_questions(own, seed, databases.schema(name), databases.path(name), name)
    return _write(folder / ATTEMPTED, synthetic + demo_questions(count - count // 2, seed, "train", demo))


def _write(path: Path, examples: Sequence[Example]) -> Path:
    fields = ("id", "question", "sql", "db_id")
    lines = [json.dumps({name: getattr(example, name) for name in fields}) + "\n" for example in examples]
    path.write_text("".join(lines), encoding="utf-8")
    return path
