"""The proof that splits share no wording, no value and no question."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from corpus.demo_questions.drawing import Draw
from corpus.demo_questions.grammar import SPLITS, Grammar, Split, plain


@dataclass(frozen=True)
class Overlap:
    """What two splits have in common; empty all over when they are apart."""

    wordings: frozenset[str]
    literals: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.wordings or self.literals or self.questions)


def wording_overlap(grammar: Grammar) -> Overlap:
    """Frames that two splits share, and phrases that calibration and test do: over the whole grammar rather than a
    sample. What train can say is too much to list; a phrase of theirs is never drawn for it (`drawing`).
    """
    frames = {
        split: {
            f"{kind}: {plain(frame)}"
            for (kind, at), members in grammar.frames.items()
            if at == split
            for frame in members
        }
        for split in SPLITS
    }
    common = grammar.phrases("calibration") & grammar.phrases("test")
    for one, other in combinations(SPLITS, 2):
        common |= frames[one] & frames[other]
    return Overlap(frozenset(common))


def drawn_overlap(drawn: dict[Split, Sequence[Draw]]) -> Overlap:
    """Wordings, values and questions that drawn splits share."""
    wordings, literals, questions = set(), set(), set()
    for one, other in combinations(drawn.values(), 2):
        wordings |= {plain(draw.phrase) for draw in one} & {plain(draw.phrase) for draw in other}
        questions |= {plain(draw.example.question) for draw in one} & {
            plain(draw.example.question) for draw in other
        }
        literals |= {text for draw in one for text in draw.literals} & {
            text for draw in other for text in draw.literals
        }
    return Overlap(frozenset(wordings), frozenset(literals), frozenset(questions))
