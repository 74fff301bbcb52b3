"""A model that is not ours, behind OpenAI's chat protocol: its SQL is picked out of its words and passes the same walls."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.assembly import load_pipeline
from serving.databases import Database
from serving.errors import BadSql
from serving.plain import statement_in
from serving.settings import Settings


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

    def do_GET(self) -> None:
        found = self.path == "/v1/models"
        self._reply(
            {"data": [{"id": "someone/model", "owned_by": "someone"}]} if found else {}, 200 if found else 404
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = body["messages"][-1]["content"]
        text = (
            "Yes" if body["max_tokens"] == 1 else "which suppliers?" if "SQL answers" in asked else self.says
        )
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
