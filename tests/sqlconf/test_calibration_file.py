"""A file with a right digest and wrong contents is still refused."""

import pytest

from sqlconf.calibration_file import read_calibration, write_calibration
from sqlconf.errors import ConfidenceError

SOUND = {
    "centre": [0.5], "scale": [0.1], "coefficient": [1.0], "missing_coefficient": [0.0], "intercept": 0.0,
    "isotonic": [[0.1, 0.2], [0.9, 0.8]],
}  # fmt: skip


def test_a_sound_file_comes_back_as_it_went(tmp_path) -> None:
    write_calibration(tmp_path / "c.json", ["a"], SOUND, 30, "2025-01-01", {"brier": 0.1})
    found = read_calibration(tmp_path / "c.json")
    assert (found.signals, found.weights, found.n, found.metrics) == (["a"], SOUND, 30, {"brier": 0.1})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"centre": [0.5, 0.5]}, "one number for each"),
        ({"coefficient": ["1.0"]}, "one number for each"),
        ({"coefficient": [None]}, "one number for each"),
        ({"scale": [0.0]}, "not above 0"),
        ({"intercept": None}, "intercept"),
        ({"isotonic": [[0.1]]}, "pairs"),
        ({"isotonic": 3}, "pairs"),
        ({"isotonic": [[0.1, 0.9], [0.2, 0.1]]}, "does not rise"),
        ({"isotonic": [[0.1, 1.2]]}, r"within 0\.\.1"),
        ({"extra": 1}, "weights holds"),
    ],
)
def test_unsound_weights_are_refused(tmp_path, change, says) -> None:
    write_calibration(tmp_path / "c.json", ["a"], {**SOUND, **change}, 30, "2025-01-01", {})
    with pytest.raises(ConfidenceError, match=says):
        read_calibration(tmp_path / "c.json")
