"""How sure may one be that generated SQL answers its question: signals, their fusion, and how good they
are.
"""

from sqlconf.abstain import threshold_for_precision
from sqlconf.back_translation import BackTranslation
from sqlconf.describe import describe
from sqlconf.embedding import Embedder, shared_embedder
from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.likelihood import TokenProbability, likelihood, weakest_token, whole_sequence
from sqlconf.metrics import Score, report
from sqlconf.self_report import SelfReport
from sqlconf.signal import Answer, Model, Reading, SchemaView, Signal, measure_all, values
from sqlconf.similarity import Similarity, described, raw

__all__ = [
    "Answer",
    "BackTranslation",
    "ConfidenceError",
    "Embedder",
    "Fusion",
    "Model",
    "Reading",
    "SchemaView",
    "Score",
    "SelfReport",
    "Signal",
    "Similarity",
    "TokenProbability",
    "describe",
    "described",
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
