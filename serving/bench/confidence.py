"""How good the confidence is, beside its own signals and beside uqlm's and lm-polygraph's scorers on the very same answers.

Two sets: the demo's test questions, on a database that the calibration knows, and Spider's development questions
(SURESQL_DATA says where they are), on databases that neither training nor calibration saw. Answers are kept under
SURESQL_HOME/bench; a later run of the same weights, code and settings reads them. SURESQL_PEERS_PYTHON names the Python of the
peers. The figures at the top are of Spider where it is there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import rankdata

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.metrics import auroc, brier, report
from sqlconf.profiles import PROFILES, Profile
from sqlconf.weights import CHOICES, Choice

from ..calibration import (
    READINGS,
    cost_share,
    databases_of,
    is_ours,
    readings_of,
)
from ..errors import EvaluationError
from ..evaluation import evaluate
from ..kept_answers import answers_key, can_be_kept
from ..predictions import Judged, read_predictions
from ..recalibration import measuring_all
from ..settings import Settings, profile_file
from .outputs import Outputs, demo_questions_in, keep_outputs, spider_questions_in
from .peers import Peers, peer_scores

log = logging.getLogger(__name__)
RANKS = ("auroc", "auprc_errors", "aurc", "coverage_at_0.8", "coverage_at_0.9", "coverage_at_0.95")
"""What needs an order alone, and so can be said of scores that are no probabilities."""


def run(settings: Settings) -> dict[str, Any]:
    """The table of methods, the fusion's margin over the best peer, costs, profiles and ablation."""
    folder = settings.home / "bench" / "confidence" / answers_key(settings)
    folder.mkdir(parents=True, exist_ok=True)
    sets: dict[str, dict[str, Any]] = {}
    sources: dict[str, Callable[[Path], tuple[Path, Path]]] = {"demo": demo_questions_in}
    if settings.data is not None:
        data = settings.data
        sources["spider"] = lambda place: spider_questions_in(place, data, settings.bench_questions)
    fusions = fusions_of(settings)
    for name, write in sources.items():
        judged, outputs = predictions(settings, folder / name, write)
        sets[name] = figures(judged, outputs, fusions, peer_scores(settings.peers_python, outputs.answers))
    top = sets.get("spider", sets["demo"])
    found = {
        "set": "spider" if "spider" in sets else "demo",
        "fused": top["methods"]["fused"],
        "margin_over_best_peer_auroc": top["margin_over_best_peer_auroc"],
        "cost_share_of_generation": top["profiles"]["default"]["cost_share_of_generation"],
        "methods": top["methods"],
        "sets": sets,
        "ablation": ablation(settings, fusions["default"], {n: one["judged"] for n, one in sets.items()}),
    }
    for one in sets.values():
        del one["judged"]
    if "spider" not in sets:
        found["note"] = "without SURESQL_DATA only the demo, which the calibration knows, is measured"
    return found


def predictions(
    settings: Settings, folder: Path, write: Callable[[Path], tuple[Path, Path]]
) -> tuple[list[Judged], Outputs]:
    """The answers to a set, all signals measured, and their samples; made where `kept_answers` lets none stand."""
    folder.mkdir(parents=True, exist_ok=True)
    questions, databases = write(folder)
    out, samples = folder / "predictions.jsonl", folder / "outputs.jsonl"
    asked = map(json.loads, questions.read_text(encoding="utf-8").splitlines())
    known = {(str(one["id"]), one["question"]) for one in asked}
    there = can_be_kept(settings) and out.exists()
    made = {(str(one.id), one.question) for one in read_predictions(out)} if there else set()
    if made != known or not samples.exists():
        samples.unlink(missing_ok=True)
        pipeline = measuring_all(settings, folder)
        evaluate(pipeline, questions, databases, out, resume=there and made <= known)
        keep_outputs(pipeline, questions, databases, read_predictions(out), samples)
    return read_predictions(out), Outputs.read(samples, read_predictions(out))


def figures(
    judged: Sequence[Judged], outputs: Outputs, fusions: Mapping[Profile, Fusion], peers: Peers
) -> dict[str, Any]:
    """Of one set. Answers without SQL count for accuracy alone: there is nothing to be confident of."""
    some = [one for one in judged if one.sql]
    right = [bool(one.correct) for one in some]
    methods: dict[str, Any] = {}
    profiles: dict[str, Any] = {}
    for profile, fusion in fusions.items():
        confidences = confidences_of(fusion, some)
        methods["fused" if profile == "default" else f"fused, {profile}"] = _row(confidences, right, True)
        profiles[profile] = {
            "signals": list(fusion.signals),
            "auroc": auroc(confidences, right).value,
            "brier": brier(confidences, right).value,
            "cost_share_of_generation": cost_share(some, fusion.signals),
        }
    names = list(dict.fromkeys(signal["name"] for one in some for signal in one.signals))
    for name in names:
        pairs = [
            (row[name], correct)
            for row, correct in zip(readings_of(some), right, strict=True)
            if row.get(name) is not None
        ]
        values = [float(value) for value, _ in pairs if value is not None]
        methods[f"signal {name}"] = _row(values, [correct for _, correct in pairs], True)
    for name, scores in peers.scores.items():
        methods[name] = _row(scores, outputs.correct, False)
    best = max((methods[name]["auroc"] or 0.0 for name in peers.scores), default=None)
    same = confidences_of(fusions["default"], outputs.judged)
    fused = auroc(same, outputs.correct).value
    return {
        "questions": len(judged),
        "accuracy": sum(bool(one.correct) for one in judged) / len(judged),
        "methods": {name: _with_ece(row) for name, row in methods.items()},
        "profiles": profiles,
        "best_peer_auroc": best,
        "margin_over_best_peer_auroc": None if best is None or fused is None else fused - best,
        "peers": {"versions": peers.versions, "missing": peers.missing, "answers": len(outputs.answers)},
        "confident_mistakes": _mistakes(some, confidences_of(fusions["default"], some)),
        "judged": some,
    }


def ablation(
    settings: Settings, fusion: Fusion, sets: Mapping[str, Sequence[Judged]]
) -> list[dict[str, Any]] | str:
    """Of each signal of the default: what its loss costs in AUROC and Brier, on held-out calibration databases and on the
    sets, all fits being made anew without it.
    """
    file = settings.fusion_file.with_name(READINGS)
    if not file.exists():
        return f"{file} is not there, so nothing can be fitted anew; run suresql calibrate"
    calibration = read_predictions(file)
    choices = (Choice(**fusion.metrics["chosen"]),) if "chosen" in fusion.metrics else CHOICES
    rows = []
    whole: dict[str, Any] = {}
    for left_out in (None, *fusion.signals):
        names = [name for name in fusion.signals if name != left_out]
        if not names:
            continue
        try:
            fit = Fusion.fit(
                readings_of(calibration, names),
                [bool(one.correct) for one in calibration],
                databases_of(calibration),
                choices=choices,
            )
        except ConfidenceError as error:
            return f"nothing can be fitted anew: {error}"
        row: dict[str, Any] = {"calibration": (fit.metrics["auroc"], fit.metrics["brier"])}
        for name, judged in sets.items():
            confidences = confidences_of(fit, judged)
            right = [bool(one.correct) for one in judged]
            row[name] = (auroc(confidences, right).value, brier(confidences, right).value)
        if left_out is None:
            whole = row
            continue
        rows.append(
            {
                "without": left_out,
                **{
                    f"{name}_{what}_worse": None if one[i] is None or whole[name][i] is None else sign * (whole[name][i] - one[i])
                    for name, one in row.items()
                    for i, what, sign in ((0, "auroc", 1), (1, "brier", -1))
                },
            }
        )  # fmt: skip
    return rows


def fusions_of(settings: Settings) -> dict[Profile, Fusion]:
    """The calibration of each profile that there is. Raises EvaluationError without the default's."""
    default = settings.default_fusion_file
    if settings.fusion is None and not is_ours(settings):
        raise EvaluationError(
            f"The calibration of {settings.checkpoint.name} says nothing of {settings.engine_model}.",
            "Make one with suresql calibrate --data PATH --out FILE, and set SURESQL_FUSION to it.",
        )
    found: dict[Profile, Fusion] = {}
    for profile in PROFILES:
        file = profile_file(default, profile)
        if file.exists():
            try:
                found[profile] = Fusion.load(file)
            except ConfidenceError as error:
                raise EvaluationError(
                    f"The calibration cannot be used: {error}", "Run suresql calibrate."
                ) from error
    if "default" not in found:
        raise EvaluationError(f"There is no calibration {default}.", "Run suresql calibrate.")
    return found


def confidences_of(fusion: Fusion, judged: Sequence[Judged]) -> list[float]:
    rows = zip(databases_of(judged), readings_of(judged, fusion.signals), strict=True)
    return [fusion.of(database).probability([row])[0] for database, row in rows]


def _row(scores: Sequence[float], right: Sequence[bool], probabilities: bool) -> dict[str, Any]:
    """The paper's table and beyond, of one method; of scores that are no probabilities what an order tells."""
    if probabilities:
        return report(scores, right)
    shares = (rankdata(scores) / (len(scores) + 1)).tolist() if len(scores) else []
    whole = report(shares, right)
    kept: dict[str, Any] = {"n": whole["n"], "accuracy": whole["accuracy"], "undefined": whole["undefined"]}
    kept |= {name: whole[name] if name in RANKS else None for name in whole if name not in kept}
    return kept


def _with_ece(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "ece": row["ece_equal_mass"]}


def _mistakes(judged: Sequence[Judged], confidences: Sequence[float], most: int = 10) -> list[dict[str, Any]]:
    wrong = [(c, one) for c, one in zip(confidences, judged, strict=True) if not one.correct]
    wrong.sort(key=lambda pair: -pair[0])
    return [
        {"confidence": c, "question": one.question, "sql": one.sql, "database": one.db_id}
        for c, one in wrong[:most]
    ]
