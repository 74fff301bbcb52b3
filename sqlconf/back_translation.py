"""Put the SQL back into words with the model, and compare them with the question (arXiv 2506.17203, first
family).
"""

import math
from collections.abc import Sequence

from sqlconf.embedding import Embedder
from sqlconf.signal import Answer, Cost, Model, Reading, one_each


class BackTranslation:
    """The cosine of the question and the model's own wording of the SQL, the mean over its wordings; the note holds the first."""

    name = "back_translation"
    cost = Cost.WRITING

    def __init__(self, model: Model, embedder: Embedder):
        self.model = model
        self.embedder = embedder

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        wordings = one_each("back-translations", self.model.back_translate(answers), answers)
        said = [[words for words in some or () if words.strip()] for some in wordings]
        pairs = [(one.question, words) for one, some in zip(answers, said, strict=True) for words in some]
        cosines = iter(self.embedder.similarities(pairs))
        return [
            Reading(self.name, sum(next(cosines) for _ in some) / len(some), note=some[0])
            if some
            else Reading(self.name, None, note="the model put the SQL into no words")
            for some in said
        ]


class ReverseCheck:
    """How well the SQL explains the question: the geometric mean of the probabilities that the model gives to the
    question's own words, asked to put the SQL into words. No words are generated.
    """

    name = "reverse_check"
    cost = Cost.SCORING

    def __init__(self, model: Model):
        self.model = model

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        found = one_each("scored questions", self.model.question_logprobs(answers), answers)
        return [self._read(logprobs) for logprobs in found]

    def _read(self, logprobs: Sequence[float] | None) -> Reading:
        if not logprobs:
            return Reading(self.name, None, note="the model does not score questions")
        return Reading(self.name, min(1.0, math.exp(sum(logprobs) / len(logprobs))))
