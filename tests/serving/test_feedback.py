"""Labels come in, survive a crash, make a new calibration, and say when confidences are off."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from judged import write_judged

from serving.app import create_app
from serving.calibration import calibrate
from serving.databases import Database
from serving.engines import Completion
from serving.errors import FeedbackUnavailable, UnknownAnswer
from serving.feedback import Feedback, drift
from serving.ours import ReferenceWriter
from serving.pipeline import Pipeline
from serving.predictions import read_predictions
from serving.settings import Settings
from sqlconf.fusion import Fusion
from sqlconf.likelihood import likelihood


class Dice:
    """An engine that writes one statement, more and less likely."""

    model_name = "dice"

    def __init__(self) -> None:
        self.rolled = random.Random(1)

    def generate(self, prompts: Sequence[str], **_options: object) -> list[list[Completion]]:
        return [
            [Completion(" select count ( * ) from<t0>", (1, 2), (-self.rolled.random(), 0.0), 3, "stop")]
            for _ in prompts
        ]

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[tuple[float, ...]]:
        return [(-0.5,) for _ in prompts]

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(ReferenceWriter(Dice()), [likelihood()], Fusion.unfitted(["likelihood"]))


def open_in(folder: Path, pipeline: Pipeline, readings: Path | None = None) -> Feedback:
    return Feedback(
        folder,
        pipeline,
        readings or folder / "none.jsonl",
        lambda fusion: pipeline.adopt(fusion, 0.5, {}),
    )


def answered(feedback: Feedback, pipeline: Pipeline, shop: Path, count: int) -> list[tuple[str, float]]:
    """Identifiers and confidences of answers that are remembered."""
    database = Database("shop", shop)
    results = pipeline.ask([("how many suppliers", database)] * count)
    return [(feedback.remember("how many suppliers", "shop", one), one.confidence) for one in results]


def test_a_label_is_on_the_disk_and_is_a_line_of_predictions(
    tmp_path: Path, pipeline: Pipeline, shop: Path
) -> None:
    feedback = open_in(tmp_path / "labels", pipeline)
    ((name, _),) = answered(feedback, pipeline, shop, 1)
    assert feedback.label(name, True).labels == 1
    (line,) = read_predictions(tmp_path / "labels" / "labels.jsonl")
    assert (line.id, line.correct, line.db_id) == (name, True, "shop")
    assert {signal["name"] for signal in line.signals} == {"likelihood"}


def test_a_verdict_on_the_same_answer_replaces_the_first_also_after_a_restart(
    tmp_path: Path, pipeline: Pipeline, shop: Path
) -> None:
    feedback = open_in(tmp_path, pipeline)
    ((name, _),) = answered(feedback, pipeline, shop, 1)
    feedback.label(name, True)
    assert feedback.label(name, False).labels == 1
    assert open_in(tmp_path, pipeline).state().labels == 1


def test_a_label_for_an_answer_that_nobody_remembers_is_refused(tmp_path: Path, pipeline: Pipeline) -> None:
    with pytest.raises(UnknownAnswer):
        open_in(tmp_path, pipeline).label("never", True)


def test_a_tenant_labels_its_own_answers_alone(tmp_path: Path, pipeline: Pipeline, shop: Path) -> None:
    feedback = open_in(tmp_path, pipeline)
    (result,) = pipeline.ask([("how many suppliers", Database("shop", shop))])
    name = feedback.remember("how many suppliers", "shop", result, "ours")
    with pytest.raises(UnknownAnswer):
        feedback.label(name, True, "theirs")
    assert feedback.label(name, True, "ours").labels == 1


def test_labels_make_a_version_that_is_judged_by_and_survives_a_restart(
    tmp_path: Path, pipeline: Pipeline, shop: Path
) -> None:
    feedback = open_in(tmp_path, pipeline)
    for name, confidence in answered(feedback, pipeline, shop, 60):
        feedback.label(name, confidence > 0.7)
    assert feedback.due()
    state = feedback.refit()
    assert (state.version, state.pending, state.refused) == (1, 0, None)
    assert not feedback.due()
    assert isinstance(pipeline.fusion, Fusion) and pipeline.fusion.fitted
    again = Pipeline(ReferenceWriter(Dice()), [likelihood()], Fusion.unfitted(["likelihood"]))
    assert open_in(tmp_path, again).state().version == 1
    assert isinstance(again.fusion, Fusion) and again.fusion.weights == pipeline.fusion.weights


@pytest.mark.parametrize("right", [True, False])
def test_labels_of_one_kind_alone_make_no_calibration_and_the_old_one_stays(
    tmp_path: Path, pipeline: Pipeline, shop: Path, right: bool
) -> None:
    before = pipeline.fusion
    feedback = open_in(tmp_path, pipeline)
    for name, _ in answered(feedback, pipeline, shop, 30):
        feedback.label(name, right)
    state = feedback.refit()
    assert state.version == 0
    assert state.refused is not None and "a fit needs at least 2 of each" in state.refused
    assert pipeline.fusion is before
    assert not feedback.due(), "it is tried again when there are as many labels more"


def test_what_shipped_is_part_of_every_refit(tmp_path: Path, pipeline: Pipeline, shop: Path) -> None:
    calibrate([write_judged(tmp_path / "p.jsonl", 2)], tmp_path / "fusion.json")
    feedback = open_in(tmp_path / "labels", pipeline, tmp_path / "readings.jsonl")
    ((name, _),) = answered(feedback, pipeline, shop, 1)
    feedback.label(name, True)
    assert feedback.refit().version == 1
    assert isinstance(pipeline.fusion, Fusion) and pipeline.fusion.n == 81


def test_a_line_that_was_cut_short_is_lost_alone(tmp_path: Path, pipeline: Pipeline, shop: Path) -> None:
    feedback = open_in(tmp_path, pipeline)
    for name, _ in answered(feedback, pipeline, shop, 2):
        feedback.label(name, True)
    file = tmp_path / "labels.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert open_in(tmp_path, pipeline).state().labels == 1


def test_a_broken_version_is_passed_over(tmp_path: Path, pipeline: Pipeline, shop: Path) -> None:
    feedback = open_in(tmp_path, pipeline)
    for name, confidence in answered(feedback, pipeline, shop, 40):
        feedback.label(name, confidence > 0.7)
    feedback.refit()
    (tmp_path / "fusion-0002.json").write_text("{")
    assert open_in(tmp_path, pipeline).state().version == 1


def test_a_label_that_cannot_be_written_is_not_acknowledged(
    tmp_path: Path, pipeline: Pipeline, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feedback = open_in(tmp_path, pipeline)
    ((name, _),) = answered(feedback, pipeline, shop, 1)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FeedbackUnavailable, match="No space left"):
        feedback.label(name, True)
    assert feedback.state().labels == 0


def test_drift_is_none_for_few_near_zero_where_confidences_hold_and_far_where_they_do_not() -> None:
    dice = random.Random(3)
    said = [dice.random() for _ in range(400)]
    assert drift(said[:9], [True] * 9) is None
    held = drift(said, [dice.random() < p for p in said])
    assert held is not None and abs(held) < 3
    missed = drift(said, [False] * 400)
    assert missed is not None and missed < -3


def test_over_http_an_answer_has_an_id_and_its_label_is_taken(
    tmp_path: Path, checkpoint: Path, pipeline: Pipeline
) -> None:
    settings = Settings(checkpoint=checkpoint, home=tmp_path / "home")
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        answer = client.post("/v1/sql", json={"question": "how many suppliers are there?"}).json()
        assert answer["sql"] and answer["id"]
        taken = client.post("/v1/feedback", json={"answer": answer["id"], "correct": True})
        assert taken.status_code == 202
        assert taken.json()["labels"] == 1
        assert client.get("/v1/feedback").json()["version"] == 0
        unknown = client.post("/v1/feedback", json={"answer": "nobody", "correct": True})
        assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "unknown_answer")
        assert client.post("/v1/feedback", json={"answer": "a", "correct": "yes"}).status_code == 422
