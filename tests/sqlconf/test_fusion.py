"""Fusion on synthetic signals whose worth is known: it must find it, stay in 0..1, and never look at its own database."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import MIN_ROWS, Fusion
from sqlconf.metrics import auroc, brier, ece_equal_mass
from sqlconf.weights import CHOICES, EDGE


def synthetic(n: int, seed: int):
    """`good` carries the truth through a logistic law, `noise` nothing; both in 0..1."""
    rng = np.random.default_rng(seed)
    good = rng.random(n)
    truth = 1 / (1 + np.exp(-8 * (good - 0.5)))
    correct = rng.random(n) < truth
    readings = [{"good": float(g), "noise": float(z)} for g, z in zip(good, rng.random(n), strict=True)]
    return readings, correct.tolist(), truth


@pytest.fixture(scope="module")
def fitted() -> Fusion:
    readings, correct, _ = synthetic(600, 0)
    return Fusion.fit(readings, correct)


def test_it_finds_the_signal_and_ignores_the_noise(fitted) -> None:
    weight = dict(zip(fitted.signals, fitted.weights.coefficient, strict=True))
    assert {*fitted.signals, *fitted.dropped} == {"good", "noise"}
    assert weight["good"] > 1.0
    assert weight.get("noise", 0.0) < 0.1 * weight["good"]


def test_no_signal_counts_against_what_it_says_and_one_that_would_is_dropped() -> None:
    readings, correct, _ = synthetic(400, 8)
    upside_down = [{**row, "wrong": 1 - row["good"]} for row in readings]
    fusion = Fusion.fit(upside_down, correct)
    assert "wrong" in fusion.dropped
    assert all(weight >= 0 for weight in fusion.weights.coefficient)
    assert fusion.probability(upside_down[:1]) == fusion.probability(readings[:1])


def test_a_database_with_many_labels_gets_a_fit_of_its_own_and_others_the_one_for_all() -> None:
    """The signal is upright on twelve databases and says nothing on the known one, where another does."""
    rng = np.random.default_rng(9)
    readings, correct, groups = [], [], []
    for i in range(700):
        known = i >= 500
        right = bool(rng.random() < 0.5)
        told, noise = 0.8 * right + 0.1 + 0.1 * rng.random(), float(rng.random())
        readings.append({"general": noise if known else told, "local": told if known else noise})
        correct.append(right)
        groups.append("known" if known else f"d{i % 12}")
    fusion = Fusion.fit(readings, correct, groups)
    assert set(fusion.known) == {"known"}
    row = {"general": 0.9, "local": 0.1}
    assert fusion.of("another") is fusion
    assert fusion.probability([row])[0] > 0.7
    assert fusion.of("known").probability([row])[0] < 0.3


def test_what_the_signals_contribute_adds_up_to_the_log_odds(fitted) -> None:
    row = {"good": 0.3, "noise": 0.6}
    (p,) = fitted.probability([row])
    assert not fitted.weights.isotonic
    total = sum(fitted.contributions(row).values()) + fitted.weights.intercept
    assert p == pytest.approx(1 / (1 + math.exp(-total)))
    assert fitted.contributions({"good": 0.9})["good"] > 0 > fitted.contributions({"good": 0.1})["good"]


def test_its_probabilities_are_near_the_true_ones(fitted) -> None:
    readings, correct, truth = synthetic(4000, 1)
    found = fitted.probability(readings)
    assert np.abs(np.array(found) - truth).mean() < 0.05
    assert ece_equal_mass(found, correct).value < 0.05
    assert auroc(found, correct).value > auroc(list(truth), correct).value - 0.01


def test_it_calibrates_a_signal_that_boasts() -> None:
    rng = np.random.default_rng(2)
    value = 0.9 + 0.1 * rng.random(800)
    correct = (rng.random(800) < (value - 0.9) * 10).tolist()
    readings = [{"boast": float(v)} for v in value]
    fusion = Fusion.fit(readings[:400], correct[:400])
    before = brier(list(value[400:]), correct[400:]).value
    after = brier(fusion.probability(readings[400:]), correct[400:]).value
    assert after < before - 0.1


def test_a_law_that_is_no_sigmoid_gets_isotonic_steps() -> None:
    rng = np.random.default_rng(3)
    value = rng.random(3000)
    correct = (rng.random(3000) < np.where(value < 0.2, 0.02, 0.5)).tolist()
    fusion = Fusion.fit([{"step": float(v)} for v in value], correct)
    assert fusion.weights.isotonic
    assert fusion.metrics["brier_isotonic"] < fusion.metrics["brier_platt"]
    low, middle, high = fusion.probability([{"step": 0.1}, {"step": 0.4}, {"step": 0.95}])
    assert low == pytest.approx(0.02, abs=0.05)
    assert middle == pytest.approx(0.5, abs=0.1)
    assert high == pytest.approx(0.5, abs=0.1)


def test_that_a_signal_is_missing_can_itself_be_evidence() -> None:
    rng = np.random.default_rng(4)
    correct = rng.random(300) < 0.5
    readings = [{"parsed": None if not y and rng.random() < 0.7 else float(rng.random())} for y in correct]
    fusion = Fusion.fit(readings, correct.tolist())
    missing, present = fusion.probability([{"parsed": None}, {"parsed": 0.5}])
    assert missing < 0.2 < 0.6 < present
    assert fusion.probability([{}]) == fusion.probability([{"parsed": math.nan}]) == [missing]


def test_held_out_figures_follow_the_groups() -> None:
    """Each database has its own coin, which the signal names exactly: only inside a database does it predict."""
    rng = np.random.default_rng(5)
    groups, readings, correct = [], [], []
    for database in range(30):
        right = bool(rng.integers(2))
        for _ in range(20):
            groups.append(f"db{database}")
            readings.append({f"is_db{i}": float(i == database) for i in range(30)})
            correct.append(right)
    across_rows = Fusion.fit(readings, correct)
    across_databases = Fusion.fit(readings, correct, groups)
    assert across_rows.metrics["auroc"] > 0.99, "questions of one database on both sides of a fold leak"
    assert across_databases.metrics["auroc"] < 0.7
    assert across_databases.metrics["groups"] == 30
    assert across_databases.metrics["brier"] > across_rows.metrics["brier"] + 0.1


def test_groups_of_one_class_each_still_fit() -> None:
    readings, _, _ = synthetic(40, 6)
    correct = [i < 20 for i in range(40)]
    fusion = Fusion.fit(readings, correct, ["a"] * 20 + ["b"] * 20)
    assert all(0 < p < 1 for p in fusion.probability(readings))


def test_the_same_data_and_seed_give_the_same_fit() -> None:
    readings, correct, _ = synthetic(80, 7)
    one, two = Fusion.fit(readings, correct, seed=3), Fusion.fit(readings, correct, seed=3)
    assert (one.weights, one.metrics) == (two.weights, two.metrics)


VALUE = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1)
ROW = st.dictionaries(st.sampled_from(["good", "noise"]), VALUE)


@given(st.lists(ROW, max_size=8))
def test_whatever_is_missing_or_mad_the_probability_is_one(fitted, rows) -> None:
    for fusion in (fitted, Fusion.unfitted()):
        found = fusion.probability(rows)
        assert len(found) == len(rows)
        assert all(math.isfinite(p) and 0 <= p <= 1 for p in found)


@settings(max_examples=30, deadline=None)
@given(st.integers(MIN_ROWS, 60), st.randoms(use_true_random=False), st.booleans())
def test_any_fit_that_is_accepted_gives_probabilities_and_survives_its_file(
    tmp_path_factory, n, dice, grouped
) -> None:
    readings = [{"a": dice.choice([None, dice.random()]), "b": dice.choice([None, 0.5])} for _ in range(n)]
    correct = [True, True, False, False] + [dice.random() < 0.5 for _ in range(n - 4)]
    groups = [dice.choice("xyz") for _ in range(n - 2)] + ["x", "y"] if grouped else None
    if all(value is None for row in readings for value in row.values()):
        return
    fusion = Fusion.fit(readings, correct, groups, choices=CHOICES[::5])
    assert all(0 <= p <= 1 for p in fusion.probability(readings))
    path = tmp_path_factory.mktemp("fit") / "calibration.json"
    fusion.save(path)
    assert Fusion.load(path) == fusion
    assert Fusion.load(path).probability(readings) == fusion.probability(readings)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_better_reading_never_lowers_the_probability(fitted, one, other) -> None:
    low, high = fitted.probability([{"good": min(one, other)}, {"good": max(one, other)}])
    assert low <= high


def test_unfitted_is_the_mean_of_what_there_is_and_says_so() -> None:
    fusion = Fusion.unfitted(["b", "a"])
    assert not fusion.fitted
    assert fusion.probability([{"a": 0.2, "b": 0.6}, {"a": None, "b": 0.6}, {"a": None}, {}]) == [
        0.4,
        0.6,
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(
    ("n", "right", "says"),
    [
        (0, 0, "0 answers are too few"),
        (1, 1, "1 answers are too few"),
        (19, 9, "19 answers are too few"),
        (40, 40, "40 answers are right and 0 wrong; .* harder"),
        (40, 0, "0 answers are right and 40 wrong; .* easier"),
        (40, 39, "at least 2 of each"),
    ],
)
def test_too_little_to_learn_from_is_refused(n, right, says) -> None:
    with pytest.raises(ConfidenceError, match=says):
        Fusion.fit([{"a": i / 50} for i in range(n)], [i < right for i in range(n)])


def test_a_fit_without_values_lengths_or_groups_is_refused() -> None:
    correct = [i % 2 == 0 for i in range(30)]
    for nothing in ({"a": None}, {"a": math.nan}, {}):
        with pytest.raises(ConfidenceError, match="no signal has a value"):
            Fusion.fit([nothing] * 30, correct)
    with pytest.raises(ConfidenceError, match="29 of right or wrong"):
        Fusion.fit([{"a": 0.1}] * 30, correct[1:])
    with pytest.raises(ConfidenceError, match="2 groups"):
        Fusion.fit([{"a": 0.1}] * 30, correct, ["x", "y"])
    with pytest.raises(ConfidenceError, match="one group"):
        Fusion.fit([{"a": 0.1}] * 30, correct, ["x"] * 30)


def test_a_signal_that_the_fit_never_saw_is_an_error(fitted) -> None:
    with pytest.raises(ConfidenceError, match=r"not typo; fit again"):
        fitted.probability([{"good": 0.5, "typo": 0.5}])


@pytest.fixture
def saved(fitted, tmp_path):
    path = tmp_path / "calibration.json"
    fitted.save(path)
    return path


def test_the_file_is_json_that_a_person_can_check_by_hand(fitted, saved) -> None:
    body = json.loads(saved.read_text())
    assert {"format", "digest", "signals", "weights", "n", "date", "metrics"} == set(body) - {"dropped"}
    assert body["n"] == 600
    assert not body["weights"]["isotonic"]
    w = body["weights"]
    given = [{"good": 0.7, "noise": 0.2}[name] for name in body["signals"]]
    if w["log_odds"]:
        assert all(EDGE < x < 1 - EDGE for x in given)
        given = [math.log(x / (1 - x)) for x in given]
    z = [(x - c) / s for x, c, s in zip(given, w["centre"], w["scale"], strict=True)]
    logit = w["intercept"] + sum(a * b for a, b in zip(z, w["coefficient"], strict=True))
    assert fitted.probability([{"good": 0.7, "noise": 0.2}])[0] == pytest.approx(1 / (1 + math.exp(-logit)))


def test_a_file_is_bound_to_the_signals_of_its_fit(saved) -> None:
    assert Fusion.load(saved, {"good", "noise"}).fitted
    for other in ({"good"}, {"good", "noise", "new"}, {"bad"}):
        with pytest.raises(ConfidenceError, match="fitted on good, noise"):
            Fusion.load(saved, other)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "[]", "not a calibration"),
        (lambda text: "", "not JSON"),
        (lambda text: text.replace("calibration/1", "calibration/9"), "not a calibration"),
        (lambda text: text.replace('"good"', '"evil"'), "digest differs"),
        (lambda text: text.replace('"n": 600', '"n": 601'), "digest differs"),
    ],
)
def test_a_spoiled_file_is_refused(saved, spoil, says) -> None:
    saved.write_text(spoil(saved.read_text()))
    with pytest.raises(ConfidenceError, match=says):
        Fusion.load(saved)


def test_a_failed_save_or_fit_leaves_the_old_calibration(fitted, saved, monkeypatch) -> None:
    before = saved.read_bytes()
    with pytest.raises(ConfidenceError):
        Fusion.fit([{"good": 0.5}] * 3, [True] * 3).save(saved)
    with pytest.raises(ConfidenceError, match="nothing to save"):
        Fusion.unfitted().save(saved)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfidenceError, match="No space left on device; what was there stays"):
        fitted.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name], "no half-written file stays behind"


def test_a_missing_file_or_folder_says_so(fitted, tmp_path) -> None:
    with pytest.raises(ConfidenceError, match="cannot be read"):
        Fusion.load(tmp_path / "none.json")
    with pytest.raises(ConfidenceError, match="cannot be written"):
        fitted.save(tmp_path / "no" / "folder.json")


def test_a_database_with_a_fit_of_its_own_does_not_teach_the_fit_for_all() -> None:
    readings, correct, _ = synthetic(600, 5)
    upside_down, wrong, _ = synthetic(400, 6)
    groups = [f"d{i % 30}" for i in range(600)] + ["odd"] * 400
    alone = Fusion.fit(readings, correct, groups[:600])
    both = Fusion.fit([*readings, *upside_down], [*correct, *[not one for one in wrong]], groups)
    assert "odd" in both.known
    assert both.weights == alone.weights
