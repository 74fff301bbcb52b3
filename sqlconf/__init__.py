"""How sure may one be that generated SQL answers its question: signals, their fusion, and how good they
are.
"""

from sqlconf.abstain import threshold_for_precision
from sqlconf.agreement import Agreement, DistinctRows, NonEmpty, ResultProbability
from sqlconf.back_translation import BackTranslation, ReverseCheck
from sqlconf.coverage import Aligner
from sqlconf.describe import describe
from sqlconf.doubts import Doubt, doubts
from sqlconf.embedding import Embedder, shared_embedder
from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.grounding import Grounding
from sqlconf.group_guarantee import guarantee_for_new_groups
from sqlconf.guarantee import Promise, guarantee
from sqlconf.likelihood import TokenProbability, likelihood, weakest_token, whole_sequence
from sqlconf.metrics import Score, report
from sqlconf.rivals import ResultEntropy, Rivalry
from sqlconf.self_report import SelfReport
from sqlconf.shape import Shape
from sqlconf.signal import Answer, Candidate, Cost, Model, Reading, SchemaView, Signal, measure_all, values
from sqlconf.similarity import Similarity, described, raw
from sqlconf.views import Views

__all__ = [
    "Agreement",
    "Aligner",
    "Answer",
    "BackTranslation",
    "Candidate",
    "ConfidenceError",
    "Cost",
    "DistinctRows",
    "Doubt",
    "Embedder",
    "Fusion",
    "Grounding",
    "Model",
    "NonEmpty",
    "Promise",
    "Reading",
    "ResultEntropy",
    "ResultProbability",
    "ReverseCheck",
    "Rivalry",
    "SchemaView",
    "Score",
    "SelfReport",
    "Shape",
    "Signal",
    "Similarity",
    "TokenProbability",
    "Views",
    "describe",
    "described",
    "doubts",
    "guarantee",
    "guarantee_for_new_groups",
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
