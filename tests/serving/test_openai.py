"""OpenAI's own client against our routes, with the engine in the process and with a SureSQL behind a SureSQL."""

import asyncio
import json
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from server import Server
from typer.testing import CliRunner

from corpus.grammar_tokens import Grammar
from corpus.references import EOS, ask
from serving.cli.main import app
from serving.databases import Database
from serving.engines.embedded import EmbeddedEngine
from serving.engines.openai_engine import OpenAIEngine
from serving.engines.opening import open_engine
from serving.engines.told_binding import FIELD, binding_of, told
from serving.errors import ServingError
from serving.gateway.caller import Scope
from serving.gateway.keys import KeyStore
from serving.gateway.reconcile import Difference, reconcile
from serving.settings import Settings

PROMPT = "select count ( * ) from where group by"


@pytest.fixture(scope="module")
def direct(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    server = Server(Settings(checkpoint=checkpoint, home=home, candidates=2, max_tokens=8, threads=1))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def through(direct: Server, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway whose engine is the other server."""
    home = tmp_path_factory.mktemp("home")
    server = Server(
        Settings(
            checkpoint=checkpoint, home=home, candidates=2, max_tokens=8, engine_urls=(direct.url,), threads=1
        )
    )
    yield server
    server.stop()


@pytest.fixture(params=["direct", "through"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["random-tiny", "suresql"]


def test_a_completion_is_the_engines_own(client: openai.OpenAI, engine: EmbeddedEngine) -> None:
    expected = engine.generate([PROMPT], max_tokens=6)[0][0]
    found = client.completions.create(
        model="random-tiny", prompt=PROMPT, max_tokens=6, temperature=0, logprobs=1
    )
    assert found.choices[0].text == expected.text
    assert found.choices[0].logprobs is not None
    assert found.choices[0].logprobs.token_logprobs == pytest.approx(list(expected.logprobs), abs=1e-4)
    assert found.usage is not None
    assert found.usage.prompt_tokens == expected.prompt_tokens
    ids = client.completions.create(
        model="random-tiny", prompt=engine.encode(PROMPT), max_tokens=6, temperature=0
    )
    assert ids.choices[0].text == expected.text


def test_several_prompts_and_samples_come_in_order(client: openai.OpenAI) -> None:
    found = client.completions.create(
        model="random-tiny", prompt=[PROMPT, "order by"], n=3, max_tokens=4, temperature=1.0, seed=1
    )
    assert [choice.index for choice in found.choices] == list(range(6))


def test_a_completion_is_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="random-tiny", prompt=PROMPT, max_tokens=6, temperature=0)
    chunks = list(
        client.completions.create(
            model="random-tiny", prompt=PROMPT, max_tokens=6, temperature=0, stream=True
        )
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert all(chunk.choices for chunk in chunks)
    chunks = list(
        client.completions.create(
            model="random-tiny", prompt=PROMPT, max_tokens=6, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert chunks[-1].usage == whole.usage


def test_a_conversation_is_continued(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "system", "content": "x"}, {"role": "user", "content": PROMPT}]
    whole = client.chat.completions.create(
        model="random-tiny", messages=messages, max_tokens=6, temperature=0
    )
    plain = client.completions.create(model="random-tiny", prompt=PROMPT, max_tokens=6, temperature=0)
    assert whole.choices[0].message.content == plain.choices[0].text
    chunks = client.chat.completions.create(
        model="random-tiny", messages=messages, max_tokens=6, temperature=0, stream=True
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content


def test_a_question_to_the_model_suresql_is_answered_with_sql_and_a_confidence(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "which suppliers are in Germany?"}]
    found = client.chat.completions.create(model="suresql/demo", messages=messages)
    extra: Any = found.model_extra
    assert 0 <= extra["suresql"]["confidence"] <= 1
    assert found.usage is not None
    assert found.usage.prompt_tokens > 0
    chunks = list(client.chat.completions.create(model="suresql/demo", messages=messages, stream=True))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == (found.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"model": "nope", "prompt": "x"}, openai.NotFoundError),
        ({"model": "random-tiny", "prompt": ""}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": []}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": [10**9]}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": "x", "n": 0}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": "x", "max_tokens": -1}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": "x", "temperature": "hot"}, openai.UnprocessableEntityError),
        ({"model": "random-tiny", "prompt": "x y " * 4_000}, openai.APIStatusError),
        ({"model": "suresql", "prompt": "x"}, openai.NotFoundError),
    ],
)
def test_what_is_wrong_is_told_in_openais_shape(
    client: openai.OpenAI, call: dict[str, Any], error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        client.completions.create(**call)
    assert 400 <= caught.value.status_code < 500
    assert caught.value.body["message"]  # type: ignore[index]
    assert caught.value.code


def test_an_engine_elsewhere_is_as_the_one_here(
    direct: Server, engine: EmbeddedEngine, checkpoint: Path, tmp_path: Path
) -> None:
    there = open_engine(Settings(checkpoint=checkpoint, home=tmp_path, engine_urls=(direct.url,)))
    prompts = [PROMPT, "<bos><schema><tab> a<t0><c0><ask> how many rows are in it and where from<sql>"]
    allowed = [list(range(200)), None]
    for options in ({"n": 1}, {"n": 3}, {"n": 3, "allowed": allowed}):
        mine = there.generate(prompts, max_tokens=6, **options)  # type: ignore[arg-type]
        theirs = engine.generate(prompts, max_tokens=6, **options)  # type: ignore[arg-type]
        for one, other in zip(mine, theirs, strict=True):
            assert [found.token_ids for found in one] == [found.token_ids for found in other]
            assert [found.text for found in one] == [found.text for found in other]
    scores = there.score(prompts, [" from where" + EOS, " limit"])
    for one, other in zip(scores, engine.score(prompts, [" from where" + EOS, " limit"]), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
        assert all(math.isfinite(value) for value in one)
    there.close()


def test_a_grammar_binds_a_suresql_elsewhere_as_the_engine_here(
    direct: Server, engine: EmbeddedEngine, checkpoint: Path, shop: Path, tmp_path: Path
) -> None:
    there = open_engine(Settings(checkpoint=checkpoint, home=tmp_path, engine_urls=(direct.url,)))
    assert isinstance(there, OpenAIEngine)
    database = Database("shop", shop)
    asked = [
        ask(question, database.schema(), database.contents())
        for question in ("names of suppliers in Germany", "parts that cost 9.5 of suppliers rated over 3")
    ]
    for n in (1, 3):
        mine, theirs = (
            one.generate(
                [prompt.text for prompt in asked], max_tokens=14, n=n,
                constraints=[Grammar(prompt.binding, one.grammar_vocabulary) for prompt in asked],
            )
            for one in (there, engine)
        )  # fmt: skip
        for one, other in zip(mine, theirs, strict=True):
            assert [found.token_ids for found in one] == [found.token_ids for found in other]
            assert all(found.finish_reason == "stop" for found in one)
    there.close()


def test_a_binding_reaches_the_engine_as_what_it_was(shop: Path) -> None:
    database = Database("shop", shop)
    binding = ask("parts over 9.5 of Acme", database.schema(), database.contents()).binding
    again = binding_of(json.loads(json.dumps(told(binding))))
    assert (again.schema, again.tables, again.columns) == (binding.schema, binding.tables, binding.columns)
    assert [value.number for value in again.values] == [value.number for value in binding.values]


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (None, 7),
        ("columns", []),
        ("columns", [["suppliers", "nowhere"]]),
        ("columns", [["parts", "id"]]),
        ("tables", ["suppliers", "nowhere"]),
        ("tables", ["suppliers"] * 25),
        ("known", []),
        ("foreign_keys", [{"table": "suppliers", "column": "id", "ref_table": "gone", "ref_column": "id"}]),
        ("more", 1),
    ],
)
def test_what_is_no_binding_is_refused_with_a_reason(direct: Server, part: str | None, wrong: object) -> None:
    column = {"name": "id", "type": "number", "primary_key": True}
    binding: Any = {
        "known": [{"name": "suppliers", "columns": [column]}], "foreign_keys": [], "tables": ["suppliers"],
        "columns": [["suppliers", "id"]], "values": ["7"],
    }  # fmt: skip
    body = {"model": "random-tiny", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    good = httpx.post(direct.url + "/v1/completions", json={**body, FIELD: binding})
    assert good.json()["choices"][0]["finish_reason"] == "stop"
    bad = httpx.post(
        direct.url + "/v1/completions",
        json={**body, FIELD: wrong if part is None else {**binding, part: wrong}},
    )
    assert bad.status_code == 422
    assert FIELD in bad.json()["error"]["message"]


def test_a_gateway_tries_a_server_that_is_down_no_more_and_fails_nothing(
    direct: Server, checkpoint: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        nobody = f"http://127.0.0.1:{one.getsockname()[1]}"
    server = Server(
        Settings(
            checkpoint=checkpoint,
            home=tmp_path,
            engine_urls=(nobody, direct.url),
            candidates=2,
            max_tokens=8,
            threads=1,
        )
    )
    try:

        async def many() -> list[Any]:
            async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0) as client:
                return await asyncio.gather(
                    *(
                        client.completions.create(model="random-tiny", prompt=f"{i} {PROMPT}", max_tokens=2)
                        for i in range(12)
                    )
                )

        assert len(asyncio.run(many())) == 12
        down = server.app.state.service.proxy.replicas.all[0]
        assert not down.healthy
    finally:
        server.stop()


def test_a_gateway_whose_engines_are_all_away_is_not_ready_but_alive(
    checkpoint: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"checkpoint": checkpoint, "candidates": 2, "max_tokens": 8, "threads": 1}
    engine = Server(Settings(**options, home=tmp_path / "engine"))
    gateway = Server(Settings(**options, home=tmp_path / "gateway", engine_urls=(engine.url,)))
    try:
        assert httpx.get(gateway.url + "/readyz").status_code == 200
        engine.stop()
        until = time.monotonic() + 30
        while (ready := httpx.get(gateway.url + "/readyz")).status_code == 200 and time.monotonic() < until:
            time.sleep(0.05)
        assert ready.status_code == 503
        assert ready.json()["error"]["message"] == "No engine answers."
        assert httpx.get(gateway.url + "/healthz").status_code == 200
    finally:
        gateway.stop()
        engine.stop()


@pytest.fixture(scope="module")
def audited(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server, str]]:
    """A gateway before an engine, and an administrator's key of both."""
    home = tmp_path_factory.mktemp("home")
    key, _ = KeyStore(home).create("everything", scopes=tuple(Scope))
    common: dict[str, Any] = {
        "checkpoint": checkpoint, "home": home, "candidates": 2, "max_tokens": 8, "threads": 1, "keys": "required",
    }  # fmt: skip
    engine = Server(Settings(**common))
    gateway = Server(Settings(**common, engine_urls=(engine.url,), engine_api_key=key))
    yield gateway, engine, key
    gateway.stop()
    engine.stop()


@pytest.mark.parametrize("join", [False, True])
def test_what_a_gateway_settled_is_what_its_engine_did_questions_included(
    audited: tuple[Server, Server, str], join: bool
) -> None:
    gateway, engine, key = audited
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key, max_retries=0) as client:
        client.completions.create(model="random-tiny", prompt=PROMPT, max_tokens=6)
        for _ in client.completions.create(model="random-tiny", prompt=PROMPT, max_tokens=6, stream=True):
            pass
        client.chat.completions.create(
            model="suresql/demo", messages=[{"role": "user", "content": "how many suppliers are there?"}]
        )
    found = reconcile([gateway.url], [engine.url], key, join=join)
    assert found.settled_calls == found.did_calls >= 3
    assert found.differences == ()


@pytest.mark.parametrize("join", [False, True])
def test_what_only_one_side_knows_is_named_with_what_is_known_of_it(
    audited: tuple[Server, Server, str], join: bool
) -> None:
    gateway, engine, key = audited
    engine.app.state.service.calls.note("did", "00000000000000aa", 41, "lost", "k1")
    gateway.app.state.service.calls.note(
        "settled", "00000000000000bb", 7, "gone", "k2", "its end was not told"
    )
    try:
        found = reconcile([gateway.url], [engine.url], key, join=join, again_after_s=0.01)
    finally:  # the sums are of everyone's in this module
        engine.app.state.service.calls.note("did", "00000000000000aa", -41)
        gateway.app.state.service.calls.note("settled", "00000000000000bb", -7)
    assert sorted(found.differences, key=lambda one: one.call) == [
        Difference("00000000000000aa", 0, 41, "lost", "k1", ""),
        Difference("00000000000000bb", 7, 0, "gone", "k2", "its end was not told"),
    ]
    assert [one.call for one in found.unexplained] == ["00000000000000aa"]


def test_a_ledger_that_is_not_told_is_an_error_that_says_whose(audited: tuple[Server, Server, str]) -> None:
    gateway, engine, _ = audited
    with pytest.raises(ServingError, match=gateway.url) as caught:
        reconcile([gateway.url], [engine.url], "sure-no-key")
    assert "--scope admin" in caught.value.hint
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ServingError, match="cannot be asked"):
            reconcile([nowhere], [], "key")


def test_the_command_says_so_and_its_status_too(audited: tuple[Server, Server, str]) -> None:
    gateway, engine, key = audited
    arguments = ["ledger", "--gateway", gateway.url, "--engine", engine.url, "--key", key]
    agreeing = CliRunner().invoke(app, [*arguments, "--json"])
    assert agreeing.exit_code == 0 and json.loads(agreeing.stdout)["unexplained"] == 0
    engine.app.state.service.calls.note("did", "00000000000000cc", 5, "lost")
    try:
        differing = CliRunner().invoke(app, arguments)
    finally:
        engine.app.state.service.calls.note("did", "00000000000000cc", -5)
    assert differing.exit_code == 1
    assert "00000000000000cc" in differing.output and "1 of them unexplained" in differing.output
