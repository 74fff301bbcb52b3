"""How sure may one be that generated SQL answers its question: signals, their fusion, and how good they
are.
"""

from sqlconf.abstain import threshold_for_precision
from sqlconf.agreement import Agreement, NonEmpty, ResultProbability
from sqlconf.back_translation import BackTranslation, ReverseCheck
from sqlconf.describe import describe
from sqlconf.embedding import Embedder, shared_embedder
from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.grounding import Grounding
from sqlconf.guarantee import Promise, guarantee
from sqlconf.likelihood import TokenProbability, likelihood, weakest_token, whole_sequence
from sqlconf.metrics import Score, report
from sqlconf.self_report import SelfReport
from sqlconf.shape import Shape
from sqlconf.signal import Answer, Candidate, Model, Reading, SchemaView, Signal, measure_all, values
from sqlconf.similarity import Similarity, described, raw

__all__ = [
    "Agreement",
    "Answer",
    "BackTranslation",
    "Candidate",
    "ConfidenceError",
    "Embedder",
    "Fusion",
    "Grounding",
    "Model",
    "NonEmpty",
    "Promise",
    "Reading",
    "ResultProbability",
    "ReverseCheck",
    "SchemaView",
    "Score",
    "SelfReport",
    "Shape",
    "Signal",
    "Similarity",
    "TokenProbability",
    "describe",
    "described",
    "guarantee",
    "likelihood",
    "measure_all",
    "raw",
    "report",
    "shared_embedder",
    "threshold_for_precision",
    "values",
    "weakest_token",
    "whole_sequence",
]
