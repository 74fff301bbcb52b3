"""A model that is not ours, behind OpenAI's chat protocol: its SQL is picked out of its words and passes the same walls."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corpus.grammar_lark import sql_lark
from serving.assembly import load_pipeline
from serving.database_key import database_key
from serving.databases import Database
from serving.errors import BadSql
from serving.pipeline import AskResult
from serving.plain import statement_in
from serving.settings import Settings
from sqlconf.likelihood import likelihood
from sqlconf.signal import Answer, Cost, Reading


@pytest.mark.parametrize(
    ("said", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("select 1;", "select 1"),
        ("```sql\nSELECT a\nFROM b;\n```", "SELECT a\nFROM b"),
        ("Here it is:\n```\nSELECT 1\n```\nThat selects one.", "SELECT 1"),
        ("```sql\nSELECT 1\n```\nor better\n```sql\nSELECT 2\n```", "SELECT 2"),
        (
            "<think>SELECT wrong</think>WITH x AS (SELECT 1) SELECT * FROM x",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ),
        ("The answer is SELECT 1;\nIt gives one.", "SELECT 1"),
        ("SELECT 1\n\nThis counts.", "SELECT 1"),
        ("```sql\nSELECT 'unfinished", "SELECT 'unfinished"),
    ],
)
def test_a_statement_is_found_in_what_a_model_says(said: str, sql: str) -> None:
    assert statement_in(said) == sql


@pytest.mark.parametrize("said", ["", "I cannot.", "<think>SELECT 1", "```sql\nDROP TABLE x\n```"])
def test_where_there_is_none_that_is_said(said: str) -> None:
    with pytest.raises(BadSql):
        statement_in(said)


class Foreign(BaseHTTPRequestHandler):
    """Another's server of another's model, as far as its protocol goes."""

    says = "Sure.\n```sql\nSELECT name FROM suppliers WHERE country = 'Germany'\n```"
    asked: ClassVar[list[dict[str, Any]]] = []
    samples: str | None = None
    """What it says above temperature 0, if that is another thing."""

    def do_GET(self) -> None:
        found = self.path == "/v1/models"
        self._reply(
            {"data": [{"id": "someone/model", "owned_by": "someone"}]} if found else {}, 200 if found else 404
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        asked = body["messages"][-1]["content"]
        says = self.samples if self.samples and body["temperature"] > 0 else self.says
        text = "Yes" if body["max_tokens"] == 1 else "which suppliers?" if "SQL answers" in asked else says
        top = [{"token": "Yes", "logprob": -0.1}, {"token": " no", "logprob": -2.4}]
        content = [{"token": text, "logprob": -0.5, "top_logprobs": top}]
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content}}
        self._reply({"choices": [choice] * body.get("n", 1), "usage": {"prompt_tokens": 9}}, 200)

    def _reply(self, content: Any, status: int) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def foreign() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_question_to_it_is_answered_with_signals(foreign: str, shop: Path, tmp_path: Path) -> None:
    pipeline = load_pipeline(Settings(home=tmp_path, engine_urls=(foreign,)))
    (answer,) = pipeline.ask([("which suppliers are in Germany?", Database("shop", shop))])
    assert "Germany" in answer.sql
    assert answer.error is None
    assert answer.model == "someone/model"
    signals = {one.name: one.value for one in answer.signals}
    assert signals["self_report"] == pytest.approx(0.909, abs=0.01)
    assert all(one.value is not None for one in answer.signals)
    pipeline.engine.close()


class Waiting:
    """A signal that does not come to an end before the test does."""

    name, cost = "waiting", Cost.RULES

    def __init__(self) -> None:
        self.over = threading.Event()

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        self.over.wait(20)
        return [Reading(self.name, 1.0) for _ in answers]


def test_what_holds_for_a_model_of_ours_holds_for_it(
    foreign: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of writing, the limit of a signal's time, a threshold of the database's own, and doubts."""
    monkeypatch.setattr(Foreign, "samples", "SELECT name FROM suppliers")
    settings = Settings(
        home=tmp_path, engine_urls=(foreign,), signal_limit_s=0.2, candidates=2, profile="fast"
    )
    pipeline, database, waiting = load_pipeline(settings), Database("shop", shop), Waiting()
    pipeline.signals = [likelihood(), waiting]

    def ask() -> AskResult:
        (answer,) = pipeline.ask([("which suppliers are in Germany?", database)])
        return answer

    answer = ask()
    waiting.over.set()
    assert 0 < answer.generation_ms < answer.ms
    assert answer.signals[1].value is None and "longer than" in answer.signals[1].note
    assert [one.what for one in answer.doubts if one.kind == "rival"] == ["SELECT name FROM suppliers"]
    assert not answer.abstain
    pipeline.adopt(pipeline.fusion, 0.0, {database_key(database.schema()): 1.0})
    assert ask().abstain, "the database's own threshold is another"
    pipeline.engine.close()


@pytest.mark.parametrize("grammar", [False, True])
def test_its_server_is_told_of_a_grammar_where_that_is_wanted_and_of_sql_alone(
    foreign: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grammar: bool
) -> None:
    monkeypatch.setattr(Foreign, "asked", [])
    settings = Settings(home=tmp_path, engine_urls=(foreign,), engine_grammar=grammar, profile="thorough")
    pipeline, database = load_pipeline(settings), Database("shop", shop)
    pipeline.ask([("which suppliers are in Germany?", database)])
    told = [body["structured_outputs"] for body in Foreign.asked if "structured_outputs" in body]
    assert told == [{"grammar": sql_lark(database.schema())}] * (2 if grammar else 0), (
        "the likeliest, and samples"
    )
    assert len(Foreign.asked) > 2, "signals ask too"
    pipeline.engine.close()


def test_a_precision_that_no_calibration_promises_makes_it_abstain(
    foreign: str, shop: Path, tmp_path: Path
) -> None:
    pipeline = load_pipeline(Settings(home=tmp_path, engine_urls=(foreign,), precision=0.9, profile="fast"))
    (answer,) = pipeline.ask([("which suppliers are in Germany?", Database("shop", shop))])
    assert answer.sql and answer.abstain
    pipeline.engine.close()


def test_of_a_database_without_tables_it_is_not_asked(foreign: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    pipeline = load_pipeline(Settings(home=tmp_path, engine_urls=(foreign,), profile="fast"))
    (answer,) = pipeline.ask([("which suppliers are in Germany?", Database("empty", path))])
    assert answer.abstain and "no table" in str(answer.error)
    assert answer.prompt_tokens == 0
    pipeline.engine.close()


def test_what_it_must_not_do_is_not_done(
    foreign: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Foreign, "says", "```sql\nWITH x AS (SELECT 1) DELETE FROM suppliers\n```")
    pipeline = load_pipeline(Settings(home=tmp_path, engine_urls=(foreign,)))
    (answer,) = pipeline.ask([("delete all", Database("shop", shop))])
    assert answer.sql == ""
    assert answer.abstain
    assert answer.error
    pipeline.engine.close()
