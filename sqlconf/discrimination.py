"""Does a view of the SQL tell the right query from a wrong one? A development command, on questions with
gold SQL.

    python -m sqlconf.discrimination spider/dev.jsonl --tables spider/tables.json

Wrong SQL comes of two kinds: `other`, another question's SQL on the same database (easy), and `edited`,
the gold SQL with one small change such as a model would make (hard). Prints JSON: AUROC over all pairs,
and how often gold beats its own. The wording of `sqlconf.describe` was chosen with it on Spider's train
and dev, so its figures there flatter somewhat.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlconf.ddl import schema_of
from sqlconf.embedding import Embedder
from sqlconf.metrics import auroc
from sqlconf.signal import Answer, SchemaView, Signal
from sqlconf.similarity import Similarity, described, raw

_OTHER: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.Max: exp.Min,
    exp.Min: exp.Max,
    exp.Avg: exp.Sum,
    exp.Sum: exp.Avg,
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
    exp.EQ: exp.NEQ,
}


def edits(sql: str, schema: SchemaView, dice: random.Random) -> Iterator[str]:
    """The SQL with one small change: another aggregate, comparison or order, a condition dropped, another
    column.
    """
    tree = sqlglot.parse_one(sql, read="sqlite")
    siblings = {c.name.casefold(): t.columns for t in schema.tables for c in t.columns if len(t.columns) > 1}
    for path, node in enumerate(tree.walk()):
        change: exp.Expr | None = None
        if other := _OTHER.get(type(node)):
            change = other(
                **{key: part.copy() for key, part in node.args.items() if isinstance(part, exp.Expr)}
            )
        elif isinstance(node, exp.Ordered):
            change = node.copy()
            change.set("desc", not node.args.get("desc"))
        elif isinstance(node, exp.And):
            change = node.this.copy()
        elif isinstance(node, exp.Column) and isinstance(node.parent, exp.Select | exp.Func | exp.Binary):
            choices = [
                c.name
                for c in siblings.get(node.name.casefold(), ())
                if c.name.casefold() != node.name.casefold()
            ]
            if choices and not node.find_ancestor(exp.Join):
                change = node.copy()
                change.set("this", exp.to_identifier(dice.choice(choices)))
        if change is not None:
            copy = tree.copy()
            list(copy.walk())[path].replace(change)
            changed = copy.sql("sqlite")
            if _parses(changed):  # sqlglot takes `Range < 5` for a type, so its own SQL may not come back
                yield changed


@dataclass(frozen=True)
class Trial:
    gold: Answer
    other: tuple[Answer, ...]
    edited: tuple[Answer, ...]


def trials(examples: Path, tables: Path, limit: int, each: int, seed: int) -> list[Trial]:
    dice = random.Random(seed)
    rows = [json.loads(line) for line in examples.read_text().splitlines()]
    rows = [row for row in rows if row.get("sql")]
    schemas = {name: schema_of(entry["ddl"]) for name, entry in json.loads(tables.read_text()).items()}
    by_database: dict[str, dict[str, str]] = {}
    for row in rows:
        by_database.setdefault(row["db_id"], {})[_normal(row["sql"])] = row["sql"]
    found = []
    for row in dice.sample(rows, min(limit, len(rows))):
        schema, gold = schemas[row["db_id"]], _normal(row["sql"])
        wrong = [sql for key, sql in by_database[row["db_id"]].items() if key != gold]
        edited = [sql for sql in dict.fromkeys(edits(row["sql"], schema, dice)) if _normal(sql) != gold]
        right, *others = (
            Answer(row["question"], sql, schema)
            for sql in [row["sql"], *dice.sample(wrong, min(each, len(wrong)))]
        )
        near = [Answer(row["question"], sql, schema) for sql in dice.sample(edited, min(each, len(edited)))]
        found.append(Trial(right, tuple(others), tuple(near)))
    return found


def discriminate(signal: Signal, cases: list[Trial]) -> dict[str, float | None]:
    answers = [a for case in cases for a in (case.gold, *case.other, *case.edited)]
    start = time.perf_counter()
    readings = iter(signal.measure(answers))
    ms = (time.perf_counter() - start) * 1000 / len(answers)
    gold: list[float] = []
    wrong: dict[str, list[float]] = {"other": [], "edited": []}
    wins: dict[str, list[float]] = {"other": [], "edited": []}
    for case in cases:
        right = next(readings).value or 0.0
        gold.append(right)
        for kind, answers_of_kind in (("other", case.other), ("edited", case.edited)):
            for _ in answers_of_kind:
                value = next(readings).value or 0.0
                wrong[kind].append(value)
                wins[kind].append((right > value) + (right == value) / 2)
    result: dict[str, float | None] = {"ms_per_answer": round(ms, 2)}
    for kind, scores in wrong.items():
        area = auroc(gold + scores, [True] * len(gold) + [False] * len(scores)).value
        result[f"auroc_{kind}"] = None if area is None else round(area, 4)
        result[f"wins_{kind}"] = round(sum(wins[kind]) / len(wins[kind]), 4) if wins[kind] else None
    return result


def _parses(sql: str) -> bool:
    try:
        return bool(sqlglot.parse(sql, read="sqlite"))
    except SqlglotError:
        return False


def _normal(sql: str) -> str:
    """The SQL in one spelling, to know two texts for the same query."""
    return sqlglot.parse_one(sql, read="sqlite").sql("sqlite", comments=False).casefold().replace('"', "'")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("examples", type=Path, help="a JSONL file of question, sql, db_id")
    parser.add_argument("--tables", type=Path, required=True, help="a JSON file: db_id to {ddl}")
    parser.add_argument("--limit", type=int, default=1000, help="questions to draw")
    parser.add_argument("--each", type=int, default=4, help="wrong SQL of each kind, for each question")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cases = trials(given.examples, given.tables, given.limit, given.each, given.seed)
    embedder = Embedder(remember=100_000)
    embedder.embed([case.gold.question for case in cases])
    signals = [Similarity(embedder, described, "described"), Similarity(embedder, raw, "raw")]
    counts = {
        "questions": len(cases),
        "other": sum(len(case.other) for case in cases),
        "edited": sum(len(case.edited) for case in cases),
    }
    print(json.dumps(counts | {signal.name: discriminate(signal, cases) for signal in signals}, indent=2))


if __name__ == "__main__":
    main()
