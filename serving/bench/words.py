"""Back into words: does the model's wording of the right SQL stand nearer to the question than that of SQL made wrong?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from corpus.compare import is_ordered, same_answer
from corpus.errors import CorpusError, FoldError
from corpus.fold import fold, unfold
from corpus.mixture import corrupt
from corpus.nearness import Nearness
from corpus.references import ANY, Prompt, ask
from corpus.schema import connect_read_only
from corpus.spider import DatabaseFolder, Example
from sqlconf.back_translation import BackTranslation
from sqlconf.embedding import shared_embedder
from sqlconf.signal import Answer

from ..candidates import Context
from ..engines.embedded import EmbeddedEngine
from ..ours import LanguageModel, ReferenceMask
from ..settings import Settings
from .spider import spider_dev

SEED, TRIES = 1, 20


def run(settings: Settings) -> dict[str, Any]:
    """Shares of Spider's dev questions in which the right SQL ranks above a wrong one that gives other rows.

    `similarity` ranks by the cosine of question and back-translation, as that signal has it, `reverse_check` by the question's
    probability given the SQL. A tie counts as half. A development set: not for claims.
    """
    examples, folder = spider_dev(settings)
    databases, rng, embedder = DatabaseFolder(folder), random.Random(SEED), shared_embedder()
    near = Nearness(embedder.embed)
    pairs = [pair for one in examples if (pair := _pair(one, databases, near, rng))]
    engine = EmbeddedEngine(settings.checkpoint, threads=settings.threads)
    model = LanguageModel(engine, ReferenceMask(engine.vocabulary_size, engine.special_tokens(), [ANY]))
    answers = [answer for pair in pairs for answer in pair]
    readings = BackTranslation(model, embedder).measure(answers)
    wordings, cosines = [one.note for one in readings], [one.value or 0.0 for one in readings]
    scores = [sum(found or [-1e9]) for found in model.question_logprobs(answers)]
    return {
        "questions": len(examples),
        "ranked": len(pairs),
        "similarity": _share(cosines),
        "reverse_check": _share(scores),
        "same_wording": round(
            sum(a == b for a, b in zip(wordings[::2], wordings[1::2], strict=True)) / len(pairs), 3
        ),
        "examples": [
            {"question": answers[i].question, "right": wordings[i], "wrong": wordings[i + 1]}
            for i in range(0, min(len(answers), 20), 2)
        ],
    }


def _pair(
    example: Example, databases: DatabaseFolder, near: Nearness, rng: random.Random
) -> tuple[Answer, Answer] | None:
    """The known SQL, and a variant of it that gives other rows; None where the format or chance has none."""
    schema, contents = databases.read(example.db_id)
    prompt = ask(example.question, schema, contents, near=near)
    try:
        right = fold(example.sql or "", prompt.binding)
    except FoldError:
        return None
    connection = connect_read_only(databases.path(example.db_id))
    try:
        known = connection.execute(example.sql or "").fetchall()
        for _ in range(TRIES):
            wrong = corrupt(right, prompt, rng)
            try:
                rows = connection.execute(unfold(wrong, prompt.binding)).fetchmany(10_000)
            except (CorpusError, connection.Error):
                continue
            if not same_answer(known, rows, ordered=is_ordered(example.sql or "")):
                return _answer(example, prompt, right), _answer(example, prompt, wrong)
    finally:
        connection.close()
    return None


def _answer(example: Example, prompt: Prompt, folded: str) -> Answer:
    return Answer(example.question, "", prompt.binding.schema, context=Context(prompt, folded))


def _share(values: Sequence[float]) -> float:
    """How often the first of two is the greater."""
    won = [
        0.5 if right == wrong else float(right > wrong)
        for right, wrong in zip(values[::2], values[1::2], strict=True)
    ]
    return round(sum(won) / len(won), 3)
