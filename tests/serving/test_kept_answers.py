"""Judged answers of before stand for new ones where weights, code and settings are the same, and nowhere else."""

from pathlib import Path

import pytest

from serving.calibration import is_ours
from serving.errors import EvaluationError
from serving.kept_answers import answers_key, can_be_kept, code_digest
from serving.settings import Settings

URLS = ("http://127.0.0.1:1",)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(1000))
    for name in ("config.json", "tokenizer.json", "fusion.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The layout of this repository in small."""
    for name in ("corpus/references.py", "sqlconf/evidence.json", "serving/bench/soak.py", "serving/ours.py"):
        file = tmp_path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1\n")
    return tmp_path / "code"


def test_weights_and_what_reads_them_tell_answers_apart_and_a_calibration_does_not(checkpoint: Path) -> None:
    settings = Settings(checkpoint=checkpoint)
    keys = [answers_key(settings)]
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (checkpoint / name).write_text('{"other": 1}')
        keys.append(answers_key(settings))
    assert len(set(keys)) == 4
    (checkpoint / "fusion.json").write_text('{"other": 1}')
    assert answers_key(settings) == keys[-1]


@pytest.mark.parametrize(
    ("setting", "other"),
    [
        ("candidates", 1),
        ("max_tokens", 80),
        ("grammar", False),
        ("run_candidates", False),
        ("engine", "vllm"),
    ],
)
def test_settings_that_shape_answers_tell_them_apart(checkpoint: Path, setting: str, other: object) -> None:
    settings = Settings(checkpoint=checkpoint)
    assert answers_key(settings) != answers_key(settings.model_copy(update={setting: other}))
    assert answers_key(settings) == answers_key(settings.model_copy(update={"port": 1, "profile": "fast"}))


@pytest.mark.parametrize("name", ["corpus/references.py", "sqlconf/evidence.json", "serving/ours.py"])
def test_other_code_or_data_in_it_is_another_key(code: Path, name: str) -> None:
    before = code_digest.__wrapped__(code)
    (code / name).write_text("2\n")
    assert code_digest.__wrapped__(code) != before


def test_words_about_the_code_and_what_is_no_part_of_answering_change_nothing(code: Path) -> None:
    before = code_digest.__wrapped__(code)
    (code / "corpus/references.py").write_text('"""What this is."""\n\n1  # a number\n')
    (code / "serving/bench/soak.py").write_text("2\n")
    assert code_digest.__wrapped__(code) == before


def test_answers_of_a_model_that_others_serve_are_apart_and_are_not_taken_up_again(checkpoint: Path) -> None:
    ours = Settings(checkpoint=checkpoint)
    theirs = Settings(
        checkpoint=checkpoint, engine_urls=URLS, engine_model="smol/lm 2", engine_format="plain"
    )
    elsewhere = Settings(checkpoint=checkpoint, engine_urls=URLS, engine_format="references")
    assert is_ours(ours) and is_ours(elsewhere) and not is_ours(theirs)
    assert len({answers_key(one) for one in (ours, theirs, elsewhere)}) == 3
    assert "/" not in answers_key(theirs)
    assert [can_be_kept(one) for one in (ours, theirs, elsewhere)] == [True, False, False]
    with pytest.raises(EvaluationError, match="is not said"):
        answers_key(Settings(checkpoint=checkpoint, engine_urls=URLS))
