"""How near the question is to the SQL, by embedding (arXiv 2506.17203, second family: the one that tells
wrong SQL best).

The SQL is looked at through a view, a text made of it. `described` reads it out in English by rules and
needs no model.
"""

from collections.abc import Callable, Sequence

from sqlconf.describe import describe
from sqlconf.embedding import Embedder
from sqlconf.signal import Answer, Cost, Reading

View = Callable[[Answer], str | None]


def described(answer: Answer) -> str | None:
    """The SQL in English; None where it does not parse."""
    return describe(answer.sql, answer.schema)


def raw(answer: Answer) -> str | None:
    """The SQL as it stands: the plain twin that `described` is measured against."""
    return answer.sql.strip() or None


class Similarity:
    """The cosine of the question and a view of the SQL; the note holds the view's text."""

    cost = Cost.EMBEDDING

    def __init__(self, embedder: Embedder, view: View = described, name: str = "similarity"):
        self.embedder = embedder
        self.view = view
        self.name = name

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        texts = [self.view(answer) for answer in answers]
        seen = [i for i, text in enumerate(texts) if text]
        cosines = self.embedder.similarities([(answers[i].question, texts[i] or "") for i in seen])
        readings = [Reading(self.name, None, note="the SQL does not parse")] * len(answers)
        for i, cosine in zip(seen, cosines, strict=True):
            readings[i] = Reading(self.name, cosine, note=texts[i] or "")
        return readings
