"""The proof that splits share no wording, no value and no question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from corpus.demo_questions.drawing import Draw
from corpus.demo_questions.grammar import SPLITS, Grammar, Split


@dataclass(frozen=True)
class Overlap:
    """What two splits have in common; empty all over when they are apart."""

    wordings: frozenset[str]
    literals: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.wordings or self.literals or self.questions)


def plain(text: str) -> str:
    """A wording without case and punctuation, so that a question mark makes no difference."""
    return " ".join(re.sub(r"[^\w{}<>=%#]+", " ", text.lower()).split())


def phrases(grammar: Grammar, split: Split) -> set[str]:
    """Everything that the split's intents can say, less the frames around it, with slots open."""
    return {
        plain(expanded)
        for intent in grammar.intents
        for facet in intent.facets_for(split)
        for wording in intent.wordings[split]
        for expanded in grammar.expansions(grammar.frames_of(intent, wording, split)[1], split, facet)
    }


def wording_overlap(grammar: Grammar) -> Overlap:
    """Frames and phrases that two splits share, over the whole grammar rather than a sample."""
    frames = {
        split: {
            f"{kind}: {plain(frame)}"
            for (kind, at), members in grammar.frames.items()
            if at == split
            for frame in members
        }
        for split in SPLITS
    }
    said = {split: phrases(grammar, split) for split in SPLITS}
    common: set[str] = set()
    for one, other in combinations(SPLITS, 2):
        common |= (frames[one] & frames[other]) | (said[one] & said[other])
    return Overlap(frozenset(common))


def drawn_overlap(drawn: dict[Split, Sequence[Draw]]) -> Overlap:
    """Wordings, values and questions that drawn splits share."""
    wordings, literals, questions = set(), set(), set()
    for one, other in combinations(drawn.values(), 2):
        wordings |= {plain(draw.wording) for draw in one} & {plain(draw.wording) for draw in other}
        questions |= {plain(draw.example.question) for draw in one} & {
            plain(draw.example.question) for draw in other
        }
        literals |= {text for draw in one for text in draw.literals} & {
            text for draw in other for text in draw.literals
        }
    return Overlap(frozenset(wordings), frozenset(literals), frozenset(questions))
