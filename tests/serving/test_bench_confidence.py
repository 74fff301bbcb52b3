"""The benchmark's figures on judged answers whose signals' worth is known; profiles, costs and ablation."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving.bench.confidence import ablation, figures, fusions_of
from serving.bench.outputs import Outputs
from serving.bench.peers import Peers, peer_scores
from serving.calibration import calibrate, profile_signals
from serving.errors import EvaluationError
from serving.predictions import Judged, read_predictions
from serving.settings import Settings

COSTS = {"free": 0, "rules": 1, "dear": 3, "useless": 3, "written": 4}


def _near(value: float, spread: float, dice: random.Random) -> float:
    return min(1.0, max(0.0, value + dice.gauss(0, spread)))


def judged(n: int, seed: int, databases: int = 12) -> list[Judged]:
    """`free` tells a little, `dear` and `written` tell more, `useless` nothing."""
    dice = random.Random(seed)
    found = []
    for i in range(n):
        ease = dice.random()
        right = dice.random() < ease
        values = {
            "free": _near(ease, 0.4, dice),
            "rules": dice.random(),
            "dear": _near(ease, 0.05, dice),
            "useless": dice.random(),
            "written": _near(ease, 0.2, dice),
        }
        signals = [
            {
                "name": name,
                "value": value,
                "ms": 2.0 if COSTS[name] > 1 else 0.1,
                "note": "",
                "cost": COSTS[name],
            }
            for name, value in values.items()
        ]
        line = Judged(i, "SELECT 1", 0.5, signals, right, f"d{i % databases}", False, None, f"question {i}")
        found.append(replace(line, ms=20.0, generation_ms=10.0))
    return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("calibrated")
    (folder / "p.jsonl").write_text("".join(one.line() for one in judged(360, 0)))
    calibrate([folder / "p.jsonl"], folder / "fusion.json")
    return Settings(checkpoint=folder, home=folder / "home")


def test_the_default_takes_what_pays_and_no_more_than_its_share_of_the_time() -> None:
    chosen = profile_signals("default", judged(360, 0))
    assert "dear" in chosen
    assert "useless" not in chosen
    assert "written" not in chosen
    assert profile_signals("fast", judged(60, 0)) == ("free", "rules")
    assert set(profile_signals("thorough", judged(60, 0))) == set(COSTS)


def test_every_profile_has_a_calibration_and_one_that_is_missing_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    assert list(fusions_of(settings)) == ["fast", "default", "thorough"]
    with pytest.raises(EvaluationError, match="no calibration"):
        fusions_of(Settings(checkpoint=tmp_path))


def test_the_table_has_the_fusion_each_signal_and_the_peers_and_the_margin_is_of_the_same_answers(
    settings: Settings,
) -> None:
    some = judged(300, 1)
    outputs = Outputs([{"id": str(one.id)} for one in some[:200]], some[:200])
    guess = random.Random(2)
    peers = Peers({"uqlm guess": [guess.random() for _ in range(200)]}, {"uqlm": "0"}, {})
    found = figures(some, outputs, fusions_of(settings), peers)
    assert {"fused", "fused, fast", "signal dear", "uqlm guess"} <= set(found["methods"])
    assert found["methods"]["fused"]["auroc"] > 0.7
    assert found["methods"]["fused"]["ece"] is not None
    assert found["methods"]["uqlm guess"]["ece"] is None, "a score is no probability"
    assert found["best_peer_auroc"] == found["methods"]["uqlm guess"]["auroc"]
    assert found["margin_over_best_peer_auroc"] > 0.1
    assert found["profiles"]["fast"]["cost_share_of_generation"] < 0.3
    mistakes = [one["confidence"] for one in found["confident_mistakes"]]
    assert mistakes == sorted(mistakes, reverse=True)


def test_the_ablation_finds_what_the_fit_rests_on(settings: Settings) -> None:
    rows = ablation(settings, fusions_of(settings)["default"], {"new": judged(200, 3)})
    worst = max(rows, key=lambda row: row["new_brier_worse"])
    assert worst["without"] == "dear"
    assert worst["calibration_auroc_worse"] > 0


def test_peers_that_are_not_there_are_missing_and_nothing_fails(tmp_path: Path) -> None:
    assert "SURESQL_PEERS_PYTHON is not set" in str(peer_scores(None, [{}]).missing)
    assert peer_scores(tmp_path / "no-python", [{"text": "a"}]).scores == {}


def test_a_python_without_them_tells_which_scorers_it_lacks() -> None:
    line = {
        "text": "SELECT 1", "logprobs": [-0.1, -0.2], "entropies": [0.1, 0.3], "tops": [[-0.1, -3.0]] * 2,
        "samples": ["SELECT 1", "SELECT 2"], "sample_logprobs": [[-0.1], [-0.4]],
    }  # fmt: skip
    found = peer_scores(Path(sys.executable), [line, line])
    assert set(found.versions) == {"uqlm", "lm-polygraph"}, found.missing
    for package, version in found.versions.items():
        if version == "not installed":
            assert any(name.startswith(package.split("-")[0]) for name in found.missing)
        else:
            assert any(name.startswith(package) for name in found.scores)


def test_predictions_keep_what_was_considered(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(judged(1, 0)[0].line())
    assert read_predictions(file)[0].question == "question 0"
    old = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("question", "ms", "candidates")}
    file.write_text(json.dumps(old) + "\n")
    assert read_predictions(file)[0].candidates == []
