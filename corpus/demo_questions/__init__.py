"""Questions on the demo database with their SQL, generated from declared intents, apart by split.

An intent is a paragraph in `intents/*.txt`; a synonym is a line of `lexicon.txt`; a whole phrasing is a line
of `frames.txt`; what a generic intent ranges over (a number column, a foreign key) is a paragraph of
`facets.txt`.
"""

from corpus.demo_questions.disjoint import Overlap, drawn_overlap, wording_overlap
from corpus.demo_questions.drawing import Draw, demo_questions, draw_questions
from corpus.demo_questions.grammar import SPLITS, Grammar, Split

__all__ = [
    "SPLITS",
    "Draw",
    "Grammar",
    "Overlap",
    "Split",
    "demo_questions",
    "draw_questions",
    "drawn_overlap",
    "wording_overlap",
]
