"""Put the SQL back into words with the model, and compare them with the question (arXiv 2506.17203, first
family).
"""

from collections.abc import Sequence

from sqlconf.embedding import Embedder
from sqlconf.errors import ConfidenceError
from sqlconf.signal import Answer, Model, Reading


class BackTranslation:
    """The cosine of the question and the model's own wording of the SQL; the note holds that wording."""

    name = "back_translation"

    def __init__(self, model: Model, embedder: Embedder):
        self.model = model
        self.embedder = embedder

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        wordings = self.model.back_translate(answers)
        if len(wordings) != len(answers):
            raise ConfidenceError(
                f"the model gave {len(wordings)} back-translations for {len(answers)} answers"
            )
        worded = [i for i, words in enumerate(wordings) if words and words.strip()]
        cosines = self.embedder.similarities([(answers[i].question, wordings[i] or "") for i in worded])
        readings = [Reading(self.name, None, note="the model put the SQL into no words")] * len(answers)
        for i, cosine in zip(worded, cosines, strict=True):
            readings[i] = Reading(self.name, cosine, note=wordings[i] or "")
        return readings
