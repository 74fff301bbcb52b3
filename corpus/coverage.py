"""How much real SQL the format covers: `python -m corpus.coverage QUESTIONS DATABASES` folds, unfolds and compares."""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

from corpus.compare import is_ordered, same_answer
from corpus.errors import FoldError, UnfoldError
from corpus.fold import fold, unfold
from corpus.references import ask
from corpus.schema import connect_read_only
from corpus.spider import DatabaseFolder, Example, read_examples


def coverage(questions: Path, databases: Path, seed: int = 0) -> dict[str, int]:
    """Counts of questions by what became of their SQL: same rows, other rows, not folded, not unfolded."""
    folder, rng = DatabaseFolder(databases), random.Random(seed)
    return dict(
        Counter(_outcome(example, folder, rng) for example in read_examples(questions) if example.sql)
    )


def _outcome(example: Example, folder: DatabaseFolder, rng: random.Random) -> str:
    prompt = ask(example.question, *folder.read(example.db_id), shuffle=rng)
    gold = example.sql or ""
    try:
        back = unfold(fold(gold, prompt.binding), prompt.binding)
    except FoldError:
        return "not folded"
    except UnfoldError:
        return "not unfolded"
    connection = connect_read_only(folder.path(example.db_id))
    try:
        rows = [connection.execute(sql).fetchall() for sql in (gold, back)]
    finally:
        connection.close()
    return "same rows" if same_answer(*rows, ordered=is_ordered(gold)) else "other rows"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path)
    parser.add_argument("databases", type=Path)
    options = parser.parse_args()
    print(json.dumps(coverage(options.questions, options.databases)))
