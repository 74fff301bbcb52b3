"""The notebook runs top to bottom on a small share of the demo's questions, with a tiny model of random weights."""

from pathlib import Path

import pytest
from judged import write_judged

from serving.calibration import calibrate

nbclient = pytest.importorskip("nbclient", reason="pip install 'suresql[notebook]'")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")
NOTEBOOK = Path(__file__).parents[2] / "docs" / "confidence.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate([write_judged(tmp_path / "p.jsonl", 0)], tmp_path / "fusion.json")
    for name, value in {
        "CHECKPOINT": checkpoint, "FUSION": tmp_path / "fusion.json", "HOME": tmp_path / "home",
        "NOTEBOOK_QUESTIONS": 8, "MAX_TOKENS": 24,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SURESQL_{name}", str(value))
    monkeypatch.delenv("SURESQL_DATA", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "8 questions" in printed
