"""From judged predictions to the fusion that turns signals into a probability, bound to the weights, and to the
thresholds that it promises a precision above.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.group_guarantee import MIN_GROUPS, promises_for_new_groups
from sqlconf.guarantee import Promise, cross_fitted, no_promises, promises
from sqlconf.profiles import PROFILES, Profile
from sqlconf.signal import Cost
from sqlconf.weights import Choice

from .errors import CheckpointError, EvaluationError
from .predictions import Judged, read_predictions
from .settings import Settings, profile_file

log = logging.getLogger(__name__)


READINGS = "readings.jsonl"
"""Beside a calibration: what it was fitted on, for refits with labels of users."""
QUICK = (Choice(0.03, True, False),)
"""Where many fits are made, one way of fitting stands for all."""
SHARED = (
    frozenset(("view_probability", "view_steadiness")),
    frozenset(("coverage", "better_name", "evidence")),
)
"""Signals that read one and the same scoring, or alignment, which is made once."""
DEFAULT_SHARE = 0.25
"""Of the time of writing the SQL that the default profile's signals may take: 0.3 less what times differ between runs."""


def calibrate(
    predictions: Sequence[str | Path], out: str | Path, checkpoint: str | Path | None = None
) -> dict[str, Any]:
    """Fit on all lines that have SQL, once for each profile, save the default's to `out` and the others' beside it
    (fusion.json, fusion-fast.json, fusion-thorough.json), and return the metrics of the default's held-out folds; under
    "promises" its thresholds for questions on further databases where there are enough of them, else for further
    questions on these; under "profiles" what each profile measures and its figures.

    What is saved names the weights of `checkpoint`, where it is given, and is of use with those alone.
    The metrics' folds follow the databases where there are several. Raises EvaluationError if there is too little, and
    writes nothing then.
    """
    judged = [one for path in predictions for one in read_predictions(path) if one.sql]
    model = None if checkpoint is None else weights_digest(checkpoint)
    found: dict[Profile, tuple[Fusion, tuple[str, ...]]] = {}
    try:
        for profile in PROFILES:
            names = profile_signals(profile, judged)
            found[profile] = replace(fit(judged, names), model=model), names
        for profile, (fusion, _) in found.items():
            fusion.save(profile_file(Path(out), profile))
        write_readings(judged, Path(out).with_name(READINGS))
    except ConfidenceError as error:
        raise EvaluationError(f"The confidence cannot be fitted: {error}") from error
    except OSError as error:
        raise EvaluationError(f"The readings cannot be kept beside {out}: {error.strerror}.") from error
    fusion = found["default"][0]
    table = {
        profile: {
            "signals": list(one.signals),
            "tried": list(names),
            "cost_share": cost_share(judged, one.signals),
            "auroc": one.metrics["auroc"],
            "ece": one.metrics["ece_equal_mass"],
            "brier": one.metrics["brier"],
        }
        for profile, (one, names) in found.items()
    }
    return {**fusion.metrics, "promises": [vars(one) for one in fusion.promises], "profiles": table}


def write_readings(judged: Sequence[Judged], path: Path) -> None:
    """What a later refit needs of judged answers, and no more: no question, no SQL. Raises OSError."""
    lines = [
        {
            "id": number, "sql": "-", "confidence": 0.0, "correct": one.correct, "db_id": one.db_id,
            "database": one.database, "abstain": False, "error": None,
            "signals": [
                {"name": s["name"], "value": None if s["value"] is None else round(s["value"], 5)} for s in one.signals
            ],
        }
        for number, one in enumerate(judged)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def fit(judged: Sequence[Judged], names: Sequence[str] | None = None) -> Fusion:
    """The fusion of these signals (all, where None) with its promises. Raises ConfidenceError if there is too little."""
    groups = databases_of(judged)
    several = groups if len(set(groups)) > 1 else None
    fusion = Fusion.fit(readings_of(judged, names), [bool(one.correct) for one in judged], several)
    known = {}
    for name, own in fusion.known.items():
        some = [one for one, group in zip(judged, groups, strict=True) if group == name]
        known[name] = replace(own, promises=promises_of(some, names, _as(own)))
    return replace(fusion, promises=promises_of(judged, names, _as(fusion)), known=known)


def _as(fusion: Fusion) -> tuple[Choice, ...]:
    """The way in which it was fitted."""
    return (Choice(**fusion.metrics["chosen"]),)


def databases_of(judged: Sequence[Judged]) -> list[str]:
    """What tells the databases apart: the schema's key, or in files without it the name."""
    return [one.database or one.db_id for one in judged]


def profile_signals(profile: Profile, judged: Sequence[Judged]) -> tuple[str, ...]:
    """The signals that a profile may take of those that were measured. The default takes what is free, and of what is not,
    in the order of the held-out Brier score with each, as much as DEFAULT_SHARE pays for: the fit drops what is worth
    nothing, and databases further from those calibrated on need more different evidence than the score tells.
    """
    costs = {signal["name"]: signal.get("cost", Cost.RULES) for one in judged for signal in one.signals}
    if profile == "thorough":
        return tuple(costs)
    chosen = [name for name, cost in costs.items() if cost <= Cost.RULES]
    if profile == "fast" or not chosen:
        return tuple(chosen or costs)
    left = [name for name, cost in costs.items() if Cost.RULES < cost < Cost.WRITING]
    while left:
        tried = {
            name: _brier(judged, [*chosen, name])
            for name in left
            if cost_share(judged, [*chosen, name]) <= DEFAULT_SHARE
        }
        if not tried:
            break
        name = min(tried, key=lambda one: tried[one])
        chosen.append(name)
        left.remove(name)
    return tuple(chosen)


def cost_share(judged: Sequence[Judged], names: Collection[str]) -> float:
    """The time of these signals as a share of the time of writing the SQL; 0 where that was not taken."""
    written = sum(one.generation_ms for one in judged)
    return sum(_spent(one, names) for one in judged) / written if written else 0.0


def _spent(one: Judged, names: Collection[str]) -> float:
    """Milliseconds of these signals alone: whichever of several that share their work came first has paid for all."""
    ms = {signal["name"]: float(signal["ms"]) for signal in one.signals}
    spent = sum(ms.get(name, 0.0) for name in names)
    for group in SHARED:
        payer = next((name for name in ms if name in group), None)
        if payer is not None and payer not in names and not group.isdisjoint(names):
            spent += ms[payer]
    return spent


def _brier(judged: Sequence[Judged], names: Sequence[str]) -> float:
    groups = databases_of(judged)
    several = groups if len(set(groups)) > 1 else None
    correct = [bool(one.correct) for one in judged]
    return float(Fusion.fit(readings_of(judged, names), correct, several, choices=QUICK).metrics["brier"])


def promises_of(
    judged: Sequence[Judged], names: Sequence[str] | None = None, choices: Sequence[Choice] = QUICK
) -> tuple[Promise, ...]:
    """The table that a fit on `judged` is saved with: for further databases where there are MIN_GROUPS or more, else for
    further questions; refusals where they are too few to cross-fit.
    """
    correct, groups = [bool(one.correct) for one in judged], databases_of(judged)
    try:
        if len(set(groups)) >= MIN_GROUPS:
            unseen = held_out_confidences(judged, names, new_databases=True, choices=choices)
            return promises_for_new_groups(unseen, correct, groups)
        return promises(held_out_confidences(judged, names, choices=choices), correct)
    except ConfidenceError as error:
        return no_promises(len(judged), f"a fit without a part of the answers is not possible: {error}")


def readings_of(
    judged: Sequence[Judged], names: Collection[str] | None = None
) -> list[dict[str, float | None]]:
    return [
        {
            signal["name"]: signal["value"]
            for signal in one.signals
            if names is None or signal["name"] in names
        }
        for one in judged
    ]


def held_out_confidences(
    judged: Sequence[Judged],
    names: Collection[str] | None = None,
    *,
    new_databases: bool = False,
    choices: Sequence[Choice] = QUICK,
) -> list[float]:
    """Each answer's confidence by a fit without it, or, for `new_databases`, without all on its database.

    Raises ConfidenceError where a part is too small to fit.
    """
    correct = [bool(one.correct) for one in judged]
    fit = partial(Fusion.fit, choices=choices)
    return cross_fitted(
        fit, readings_of(judged, names), correct, databases_of(judged), whole_groups=new_databases
    )


def abstain_threshold(settings: Settings, fusion: Fusion) -> float:
    """The confidence under which an answer abstains: the setting `abstain_below`, or, where a precision is set,
    what the calibration promises for it or the next higher in its table; infinite if that is nothing.
    """
    if settings.precision is None:
        return settings.abstain_below
    asked = f"A precision of {settings.precision:g} was asked for"
    enough = [one for one in fusion.promises if one.precision >= settings.precision]
    if not enough:
        known = ", ".join(f"{one.precision:g}" for one in fusion.promises)
        log.warning(
            "%s, and the calibration promises %s: every answer abstains. %s",
            asked,
            f"no more than {known}" if known else "none",
            "Set SURESQL_PRECISION to one of these." if known else "Run suresql calibrate.",
        )
        return math.inf
    promise = min(enough, key=lambda one: one.precision)
    if promise.threshold is None:
        log.warning("%s, which the labels do not support: every answer abstains; %s", asked, promise.note)
        return math.inf
    log.info("%s: answers under %.3f abstain; %s", asked, promise.threshold, promise.note)
    return promise.threshold


def is_ours(settings: Settings) -> bool:
    """Whether the answers are of the checkpoint's weights. Raises EvaluationError where that is not known without asking."""
    if not settings.engine_urls or settings.engine_format == "references":
        return True
    if settings.engine_model is None:
        raise EvaluationError(
            "Which model the engines serve is not said, and a calibration is of one model.",
            "Set SURESQL_ENGINE_MODEL (and SURESQL_ENGINE_FORMAT=references for one that reads ours).",
        )
    return settings.engine_format == "auto" and settings.engine_model == settings.checkpoint.name


def weights_digest(checkpoint: str | Path) -> str:
    """SHA-256 over the checkpoint's *.safetensors files, in the order of their names."""
    digest = hashlib.sha256()
    try:
        files = sorted(Path(checkpoint).glob("*.safetensors"))
        for path in files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise CheckpointError(f"The weights in {checkpoint} cannot be read: {error.strerror}.") from error
    if not files:
        raise CheckpointError(
            f"There are no weights (*.safetensors) in {checkpoint}.",
            "Name the model that made the predictions with --checkpoint.",
        )
    return digest.hexdigest()
