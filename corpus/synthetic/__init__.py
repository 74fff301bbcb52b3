"""Questions with SQL made up over any database, worded in many ways: what real questions are too few to teach."""

from corpus.synthetic.drawing import synthetic_questions

__all__ = ["synthetic_questions"]
