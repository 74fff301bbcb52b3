"""The Spider benchmark on a folder of data: a wrong one is named, and odd characters in questions are kept."""

import json
import shutil
from pathlib import Path

import pytest

from serving.bench import run
from serving.errors import EvaluationError
from serving.settings import Settings


@pytest.mark.parametrize("there", [[], ["dev.jsonl"]])
def test_a_wrong_folder_of_data_is_named(settings: Settings, tmp_path: Path, there: list[str]) -> None:
    (tmp_path / "spider").mkdir()
    for name in there:
        line = {"id": 1, "question": "how many", "sql": "SELECT 1", "db_id": "shop"}
        (tmp_path / "spider" / name).write_text(json.dumps(line))
    with pytest.raises(EvaluationError, match="spider") as caught:
        run("spider", settings.model_copy(update={"data": tmp_path}))
    assert "SURESQL_DATA" in caught.value.hint


def test_a_question_with_a_line_separator_is_one_question(
    settings: Settings, tmp_path: Path, shop: Path
) -> None:
    databases = tmp_path / "spider" / "databases"
    databases.mkdir(parents=True)
    shutil.copy(shop, databases / "shop.sqlite")
    lines = [
        {"id": i, "question": f"how\u2028many {i}?", "sql": "SELECT 1", "db_id": "shop"} for i in range(2)
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "spider" / "dev.jsonl").write_text(text, encoding="utf-8")
    assert run("spider", settings.model_copy(update={"data": tmp_path}))["figures"]["n"] == 2
