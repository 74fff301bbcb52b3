"""The command: each subcommand on real files, JSON that is JSON, and errors that are one message."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli import main


@pytest.fixture
def suresql(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Runs the command in this process: its exit status, what it printed and what it complained of."""
    for name, value in {"HOME": tmp_path, "CHECKPOINT": checkpoint, "MAX_TOKENS": 8, "THREADS": 1}.items():
        monkeypatch.setenv(f"SURESQL_{name}", str(value))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["suresql", *arguments])
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        else:
            status = 0
        return status, *capsys.readouterr()

    return run


def test_help_names_every_command_and_imports_nothing_slow() -> None:
    program = (
        "import sys; sys.argv = ['suresql', '--help']\n"
        "from serving.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'sqlglot', 'fastapi', 'sklearn'} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for command in ("ask", "serve", "train", "eval", "calibrate", "bench", "db"):
        assert command in found.stdout
    assert found.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("command", ["ask", "serve", "train", "eval", "calibrate", "bench", "db add"])
def test_the_help_of_a_command_has_an_example(suresql, command: str) -> None:
    status, out, _ = suresql(*command.split(), "--help")
    assert status == 0
    assert f"suresql {command} " in out.split("Example")[1]


def test_databases_are_added_listed_and_removed(suresql, shop: Path) -> None:
    assert suresql("db", "add", "shop", str(shop))[0] == 0
    listed = json.loads(suresql("db", "list", "--json")[1])
    assert [(line["name"], line["path"]) for line in listed][1] == ("shop", str(shop))
    assert "suppliers" in suresql("db", "list")[1]
    assert suresql("db", "remove", "shop")[0] == 0
    assert [line["name"] for line in json.loads(suresql("db", "list", "--json")[1])] == ["demo"]


def test_a_question_is_answered_as_json_and_for_people(suresql, shop: Path, tmp_path: Path) -> None:
    status, out, _ = suresql("ask", "how many suppliers?", "--db", str(shop), "--json")
    assert status == 0
    assert {"sql", "confidence", "abstain", "signals", "rows", "columns", "model"} <= json.loads(out).keys()
    (tmp_path / "copy.sqlite").write_bytes(shop.read_bytes())
    assert suresql("ask", "how many suppliers?", "--db", f"sqlite:///{tmp_path}/copy.sqlite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "x", "--db", "nope"], "nope"),
        (["ask", "x", "--db", "mysql://h/d"], "mysql"),
        (["ask", "x", "--db", "postgresql://me:hush@no-such-host.invalid/d"], "not known"),
        (["ask", ""], "empty"),
        (["ask", os.fsdecode(b"\xff")], "not UTF-8"),
        (["ask", "x", "--db", os.fsdecode(b"\xff.sqlite")], "not UTF-8"),
        (["db", "add", "x", os.fsdecode(b"\xff")], "not UTF-8"),
        (["ask", "x", "--db", "x" * 5_000], "xxx"),
        (["db", "add", "x", "x" * 5_000], "too long"),
        (["ask", "x" * 5_000], "5,000 characters"),
        (["ask", "x", "--checkpoint", "/nowhere"], "/nowhere"),
        (["db", "add", "a b", "x"], "a b"),
        (["db", "remove", "nope"], "nope"),
        (["bench", "nope"], "nope"),
        (["eval", "nowhere.jsonl", "--db-root", "."], "nowhere.jsonl"),
        (["calibrate", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(suresql, arguments: list[str], said: str) -> None:
    status, out, complaint = suresql(*arguments)
    assert status == 1
    assert out == ""
    assert complaint.startswith("Error: ")
    assert said in complaint
    assert "Traceback" not in complaint


def test_a_setting_out_of_range_is_named(suresql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURESQL_CANDIDATES", "many")
    status, _, complaint = suresql("db", "list")
    assert status == 1
    assert "candidates" in complaint
    assert "SURESQL_CANDIDATES" in complaint


def test_a_port_that_is_taken_is_named(suresql) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, complaint = suresql("serve", "--port", str(port))
    assert status == 1
    assert str(port) in complaint
    assert "--port" in complaint


def test_the_benchmarks_are_listed(suresql) -> None:
    listed = json.loads(suresql("bench", "--json")[1])
    assert {"decode", "demo"} <= {line["name"] for line in listed}
    assert "decode" in suresql("bench")[1]


def test_a_benchmark_answers_figures_with_where_they_are_from(suresql) -> None:
    status, out, _ = suresql("bench", "guard", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["figures"]["guard_us"] > 0
    assert {"machine", "date", "commit", "checkpoint", "seconds"} <= found.keys()


def test_an_evaluation_writes_predictions_and_metrics(suresql, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite").write_bytes(shop.read_bytes())
    questions, out = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    lines = [
        {"id": i, "question": f"how many {i}?", "sql": "SELECT count(*) FROM suppliers", "db_id": "shop"}
        for i in range(3)
    ]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, printed, _ = suresql(
        "eval", str(questions), "--db-root", str(tmp_path), "--predictions", str(out), "--json"
    )
    assert status == 0
    assert json.loads(printed)["n"] == 3
    assert len(out.read_text().splitlines()) == 3
    again = ("eval", str(questions), "--db-root", str(tmp_path), "--predictions", str(out))
    assert "accuracy" in suresql(*again, "--resume")[1]
    assert "cannot be written: Is a directory" in suresql(*again[:-1], str(tmp_path))[2]


@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C to send")
@pytest.mark.parametrize("until", ["SureSQL at", "Ready in"])
def test_serving_says_when_it_is_ready_and_ctrl_c_ends_it_quietly(
    checkpoint: Path, tmp_path: Path, until: str
) -> None:
    program = (
        "from serving.cli import main; import sys; sys.argv = ['suresql', 'serve', '--port', '0']; main()"
    )
    changed = {"SURESQL_HOME": tmp_path, "SURESQL_CHECKPOINT": checkpoint, "SURESQL_THREADS": 1}
    environment = {**os.environ, **{name: str(value) for name, value in changed.items()}}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert any(line.startswith(until) for line in server.stdout)
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=120)
    assert server.returncode == 0
    for noise in ("Traceback", "Interrupt", "Cancelled", "Abort"):
        assert noise not in complaints
