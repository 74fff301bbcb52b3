"""Traits of a question and its statement, and weights that tell right statements from wrong ones."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sqlconf.coverage import Aligner
from sqlconf.errors import ConfidenceError
from sqlconf.evidence import Evidence, EvidenceWeights, Trait
from sqlconf.signal import Answer, Candidate
from sqlconf.traits import traits

RIGHT = (
    "What are the names of the suppliers founded after 1990?",
    "SELECT name FROM suppliers WHERE foundedIn > 1990",
)
WRONG = [
    (RIGHT[0], "SELECT id FROM suppliers WHERE foundedIn > 1990"),
    (RIGHT[0], "SELECT name FROM suppliers WHERE foundedIn < 1990"),
    (RIGHT[0], "SELECT name FROM suppliers"),
    (RIGHT[0], "SELECT count(*) FROM suppliers WHERE foundedIn > 1990"),
    (RIGHT[0], "SELECT total FROM orders WHERE total > 1990"),
]


@pytest.fixture
def evidence(embedder) -> Evidence:
    return Evidence(Aligner(embedder))


@pytest.mark.parametrize("wrong", WRONG, ids=[sql for _, sql in WRONG])
def test_the_shipped_weights_prefer_the_statement_that_fits(evidence, answer, wrong):
    first, second = evidence.measure([answer(*RIGHT), answer(*wrong)])
    assert first.value > second.value


def test_rows_that_repeat_and_no_rows_speak_against_a_statement(evidence, answer):
    def given(rows: int, distinct: float) -> Answer:
        one = answer(*RIGHT)
        return replace(one, candidates=(Candidate(one.sql, -0.1, "r", rows, 5, distinct),))

    plain, repeated, empty = (
        r.value for r in evidence.measure([given(9, 1.0), given(9, 0.3), given(0, 1.0)])
    )
    assert plain > repeated and plain > empty


def test_a_statement_that_was_not_run_is_judged_without_its_rows(evidence, answer):
    one = answer(*RIGHT)
    unrun = replace(one, candidates=(Candidate(one.sql, -0.1, None, None),))
    assert not any(name.startswith("rows") for name in traits(unrun, None, None))
    assert evidence.measure([unrun])[0].value == evidence.measure([one])[0].value


def test_what_does_not_parse_has_no_evidence_and_says_so(evidence, answer):
    (reading,) = evidence.measure([answer("who", "SELEC name FRM")])
    assert reading.value is None and "parses" in reading.note


def test_the_note_names_what_spoke_against_it(embedder, answer):
    weights = EvidenceWeights(
        statements=1, questions=1, databases=1, strength=1.0, held_out_log_loss=0.5, intercept=0.0,
        traits={"sql: count": Trait(centre=0.0, scale=1.0, weight=-2.0)},
    )  # fmt: skip
    (reading,) = Evidence(Aligner(embedder), weights=weights).measure(
        [answer("who", "SELECT count(*) FROM orders")]
    )
    assert reading.value == pytest.approx(1 / (1 + math.exp(2.0)))
    assert reading.note == "sql: count 1 (-2.0)"


def drawn(n: int = 600, seed: int = 0):
    """Statements that are right by a law of one trait, the other being noise."""
    rng = np.random.default_rng(seed)
    told, noise = rng.normal(3.0, 2.0, n), rng.normal(0, 1, n)
    right = rng.random(n) < 1 / (1 + np.exp(-(told - 3.0)))
    found = [{"told": float(a), "noise": float(b)} for a, b in zip(told, noise, strict=True)]
    return found, right.tolist(), [f"d{i % 7}" for i in range(n)], [f"q{i // 3}" for i in range(n)]


def test_a_fit_finds_the_trait_that_tells(tmp_path):
    fitted = EvidenceWeights.fit(*drawn())
    slope = fitted.traits["told"].weight / fitted.traits["told"].scale
    assert slope == pytest.approx(1.0, abs=0.3)
    assert abs(fitted.traits["noise"].weight) < 0.3
    assert fitted.held_out_log_loss < 0.6
    fitted.save(tmp_path / "w.json")
    assert EvidenceWeights.load(tmp_path / "w.json") == fitted


def test_a_trait_that_is_missing_adds_nothing_and_one_far_out_is_held_back():
    fitted = EvidenceWeights.fit(*drawn())
    assert set(fitted.contributions({"noise": 0.0, "new": 5.0})) == {"noise"}
    assert fitted.contributions({"told": 1e9}) == fitted.contributions({"told": 1e6})


@pytest.mark.parametrize("kind", ["few", "one database", "all right", "unequal"])
def test_too_little_to_fit_on_is_refused(kind):
    found, right, databases, questions = drawn()
    if kind == "few":
        found, right, databases, questions = (part[:50] for part in (found, right, databases, questions))
    elif kind == "one database":
        databases = ["d"] * len(found)
    elif kind == "all right":
        right = [True] * len(found)
    else:
        right = right[:-1]
    with pytest.raises(ConfidenceError, match=r"need 200|not of one number"):
        EvidenceWeights.fit(found, right, databases, questions)


@pytest.mark.parametrize("text", ["", "{}", '{"traits": 3}', "\udcff"])
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path, text):
    file = tmp_path / "weights.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfidenceError, match=r"weights\.json"):
        EvidenceWeights.load(file)
    with pytest.raises(ConfidenceError, match="nowhere"):
        EvidenceWeights.load(tmp_path / "nowhere.json")
