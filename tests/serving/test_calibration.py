"""A calibration is fitted on predictions, and is of use with the weights that made them alone."""

import json
import shutil
from pathlib import Path

import pytest

from serving.assembly import load_fusion
from serving.calibration import calibrate, cost_share, weights_digest
from serving.errors import CheckpointError
from serving.predictions import Judged
from serving.settings import Settings
from sqlconf.likelihood import likelihood
from sqlconf.profiles import PROFILES, Profile


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    file = tmp_path / "predictions.jsonl"
    name = likelihood().name
    lines = []
    for i in range(60):
        signals = [{"name": name, "value": (i % 3) / 3 + 0.1, "ms": 1.0, "note": ""}]
        lines.append(Judged(i, "SELECT 1", 0.5, signals, i % 3 > 0, f"d{i % 4}", False, None).line())
    file.write_text("".join(lines))
    return file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"model-{number}.safetensors").write_bytes(bytes([number]) * 1000)
    return folder


def test_a_calibration_is_used_with_its_weights_and_refused_with_others(
    predictions: Path, weights: Path
) -> None:
    settings = Settings(checkpoint=weights)
    calibrate([predictions], settings.fusion_file, weights)
    assert load_fusion(settings, [likelihood()]).model == weights_digest(weights)
    (weights / "model-2.safetensors").write_bytes(b"trained on")
    with pytest.raises(CheckpointError, match=r"belongs to other weights.*run suresql calibrate"):
        load_fusion(settings, [likelihood()])


def test_a_calibration_that_names_no_weights_is_used_with_any(predictions: Path, weights: Path) -> None:
    settings = Settings(checkpoint=weights)
    calibrate([predictions], settings.fusion_file)
    assert "model" not in json.loads(settings.fusion_file.read_text())
    assert load_fusion(settings, [likelihood()]).fitted


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_finds_its_calibration_beside_the_default_one(
    profile: Profile, predictions: Path, weights: Path
) -> None:
    settings = Settings(checkpoint=weights, profile=profile)
    calibrate([predictions], settings.default_fusion_file)
    assert settings.fusion_file.exists()
    assert {file.name for file in weights.glob("fusion*")} == {
        "fusion.json", "fusion-fast.json", "fusion-thorough.json",
    }  # fmt: skip


def test_a_copy_has_the_same_digest_and_a_folder_without_weights_none(weights: Path, tmp_path: Path) -> None:
    (weights / "config.json").write_text("{}")
    copy = shutil.copytree(weights, tmp_path / "copy")
    (copy / "config.json").unlink()
    assert weights_digest(copy) == weights_digest(weights)
    with pytest.raises(CheckpointError, match="no weights"):
        weights_digest(tmp_path)


def test_lines_without_known_sql_are_not_fitted_on(predictions: Path, tmp_path: Path) -> None:
    unknown = Judged("u", "SELECT 1", 0.5, [], None, "d0", False, None).line()
    predictions.write_text(unknown * 30 + predictions.read_text())
    assert calibrate([predictions], tmp_path / "fusion.json")["n"] == 60


def test_signals_that_share_their_work_cost_it_whichever_of_them_is_taken() -> None:
    signals = [
        {"name": "view_probability", "value": 0.5, "ms": 20.0}, {"name": "view_steadiness", "value": 0.5, "ms": 0.1},
        {"name": "likelihood", "value": 0.5, "ms": 1.0},
    ]  # fmt: skip
    judged = [Judged(1, "SELECT 1", 0.5, signals, True, "d", False, None, generation_ms=100.0)]
    assert cost_share(judged, ["likelihood"]) == pytest.approx(0.01)
    assert cost_share(judged, ["view_steadiness"]) == pytest.approx(0.201)
    assert cost_share(judged, ["view_probability"]) == pytest.approx(0.2)
    assert cost_share(judged, ["view_probability", "view_steadiness"]) == pytest.approx(0.201)
    signals = [
        {"name": "coverage", "value": 0.5, "ms": 1.0}, {"name": "evidence", "value": 0.5, "ms": 5.0},
    ]  # fmt: skip
    judged = [Judged(1, "SELECT 1", 0.5, signals, True, "d", False, None, generation_ms=100.0)]
    assert cost_share(judged, ["coverage"]) == pytest.approx(0.01), "the dearer one's own work is its own"
    assert cost_share(judged, ["evidence"]) == pytest.approx(0.06)
