"""A promised precision: found by calibrate, kept in its file, and what an answer abstains by where it is asked for."""

import json
import logging
import math
import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving.assembly import load_pipeline
from serving.bench import promise, run
from serving.calibration import abstain_threshold, calibrate
from serving.cli import main
from serving.databases import Database
from serving.errors import EvaluationError, SettingsError
from serving.predictions import Judged
from serving.settings import Settings, load_settings
from sqlconf.fusion import Fusion
from sqlconf.guarantee import no_promises, promises


def judged(n: int, seed: int = 0) -> str:
    """Lines of predictions: the upper half of the signal is nearly always right, the lower seldom."""
    dice = random.Random(seed)
    lines = []
    for i in range(n):
        value = dice.random()
        right = dice.random() < (0.99 if value > 0.5 else 0.2)
        signals = [{"name": "sure", "value": value, "ms": 1.0, "note": ""}]
        lines.append(Judged(i, "SELECT 1", value, signals, right, f"d{i % 4}", False, None).line())
    return "".join(lines)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    file = tmp_path / "predictions.jsonl"
    file.write_text(judged(500))
    return file


def test_calibrate_writes_the_promises_that_new_answers_then_keep(predictions: Path, tmp_path: Path) -> None:
    found = calibrate([predictions], tmp_path / "fusion.json")
    fusion = Fusion.load(tmp_path / "fusion.json")
    assert [vars(one) for one in fusion.promises] == found["promises"]
    assert [(one.precision, one.delta) for one in fusion.promises] == [(0.8, 0.1), (0.9, 0.1), (0.95, 0.1)]
    later = [json.loads(line) for line in judged(4000, seed=1).splitlines()]
    confidences = fusion.probability([{"sure": one["signals"][0]["value"]} for one in later])
    for one in fusion.promises:
        assert one.threshold is not None
        kept = [line["correct"] for line, c in zip(later, confidences, strict=True) if c >= one.threshold]
        assert len(kept) > 0.4 * len(later)
        assert sum(kept) / len(kept) > one.precision


def test_too_few_to_cross_fit_are_calibrated_and_promised_nothing(tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text(judged(21))
    calibrate([file], tmp_path / "fusion.json")
    fusion = Fusion.load(tmp_path / "fusion.json")
    assert fusion.fitted
    assert [one.threshold for one in fusion.promises] == [None] * 3
    assert "too few" in fusion.promises[0].note


@pytest.fixture
def fusion() -> Fusion:
    """Promises 0.8 and 0.9, and not 0.95."""
    c = [(300 - i - 0.5) / 300 for i in range(300)]
    table = promises(c, [i % 25 != 24 and i < 200 for i in range(300)])
    assert [one.threshold is None for one in table] == [False, False, True]
    return replace(Fusion.unfitted(), promises=table)


def test_without_a_precision_the_plain_threshold_stays(fusion: Fusion) -> None:
    assert abstain_threshold(Settings(abstain_below=0.37), fusion) == 0.37


@pytest.mark.parametrize(("precision", "row"), [(0.0, 0), (0.8, 0), (0.85, 1), (0.9, 1)])
def test_with_a_precision_its_own_or_the_next_higher_promise_is_kept(
    fusion: Fusion, precision: float, row: int
) -> None:
    found = abstain_threshold(Settings(abstain_below=0.37, precision=precision), fusion)
    assert found == fusion.promises[row].threshold


@pytest.mark.parametrize(
    ("precision", "known", "says"),
    [
        (0.95, True, "the labels do not support"),
        (0.99, True, "no more than 0.8, 0.9, 0.95"),
        (0.8, False, "none"),
    ],
)
def test_where_it_is_not_promised_every_answer_abstains_and_the_log_says_so(
    fusion: Fusion, precision: float, known: bool, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(precision=precision)
    with caplog.at_level(logging.WARNING):
        found = abstain_threshold(settings, fusion if known else Fusion.unfitted())
    assert found == math.inf
    assert "every answer abstains" in caplog.text
    assert says in caplog.text


def test_a_pipeline_asked_for_a_precision_that_is_not_promised_abstains(
    settings: Settings, shop: Path
) -> None:
    sure = settings.model_copy(update={"abstain_below": 0.0, "candidates": 1})
    asked = sure.model_copy(update={"precision": 0.8})
    question = ("how many suppliers", Database("shop", shop))
    assert load_pipeline(sure).abstain_below == 0.0
    assert load_pipeline(asked).ask([question])[0].abstain


def test_the_precision_is_set_by_the_environment_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURESQL_PRECISION", "0.9")
    assert load_settings().precision == 0.9
    monkeypatch.setenv("SURESQL_PRECISION", "90")
    with pytest.raises(SettingsError, match="precision"):
        load_settings()


def test_the_command_prints_the_promise_as_a_table(
    predictions: Path,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = ["suresql", "calibrate", str(predictions), "--out", str(tmp_path / "f.json"), "--checkpoint"]
    monkeypatch.setattr(sys, "argv", [*command, str(checkpoint)])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = capsys.readouterr().out
    promised = Fusion.load(tmp_path / "f.json").promises[1]
    (row,) = [line for line in printed.splitlines() if line.startswith("│ 0.9 ")]
    assert f"{promised.threshold:.3f}" in row
    assert f"{promised.coverage:.0%}" in row  # the note beside it wraps where the terminal is narrow


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promise, "REPEATS", 60)


@pytest.mark.usefixtures("quick")
def test_the_benchmark_counts_misses_on_files_and_on_all_together(predictions: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(judged(200, seed=2))
    figures = run("promise", Settings(predictions=os.pathsep.join([str(predictions), str(other)])))["figures"]
    assert [(one["n"], one["confidences"]) for one in figures["sets"]] == [
        (n, kind) for n in (500, 200, 700) for kind in ("as recorded", "cross-fitted", "for new databases")
    ]
    at_90 = figures["sets"][0]["precisions"]["0.9"]
    assert at_90["kept"]
    assert at_90["refused"] < 0.5
    assert at_90["coverage_where_promised"] > 0.4
    assert 0 <= at_90["violations"] <= figures["allowed"]


@pytest.mark.usefixtures("quick")
def test_without_files_it_simulates_and_says_so() -> None:
    figures = run("promise", Settings())["figures"]
    assert figures["source"].startswith("simulated")
    assert all(one["kept"] for world in figures["sets"] for one in world["precisions"].values())


def test_the_simulated_precision_is_that_of_many_draws() -> None:
    import numpy as np

    for world in promise.WORLDS:
        c, right = world.draw(400_000, np.random.default_rng(0))
        for threshold in (0.0, 0.5, 0.9):
            assert world.precision_above(threshold) == pytest.approx(right[c >= threshold].mean(), abs=0.005)


def test_a_file_too_small_to_split_is_named(tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text(judged(21))
    with pytest.raises(EvaluationError, match=r"few\.jsonl holds 21"):
        run("promise", Settings(predictions=str(file)))


def test_a_calibration_without_promises_is_one_that_promises_nothing() -> None:
    fusion = replace(Fusion.unfitted(), promises=no_promises(21, "too few"))
    assert abstain_threshold(Settings(precision=0.8), fusion) == math.inf
