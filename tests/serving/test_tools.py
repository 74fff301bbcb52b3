"""Tool calls: Kimi K2's own text becomes OpenAI's, whole and streamed, for OpenAI's client; our model calls a tool for SQL."""

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from server import Server

from serving.engines.vllm import environment
from serving.gateway.kimi_calls import CallReader, CallsInAnswers
from serving.settings import WEIGHTS, Settings

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
RUN = {
    "type": "function",
    "function": {
        "name": "run_query",
        "parameters": {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
    },
}
QUESTION: Any = [{"role": "user", "content": "which suppliers are in Germany?"}]


def written(calls: list[tuple[str, str]]) -> str:
    """Calls as Kimi K2 writes them."""
    inside = "".join(
        f"<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for number, (name, arguments) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inside}<|tool_calls_section_end|>"


class KimiLike:
    """A server of OpenAI's chat protocol that writes a given text, in pieces where it streams; keeps what it was asked."""

    def __init__(self) -> None:
        self.text = ""
        self.asked: dict[str, Any] = {}
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, log_level="error", lifespan="off", interface="asgi3")
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]})
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/v1/models":
            await self._whole(send, {"object": "list", "data": [{"id": "kimi-k2", "object": "model"}]})
            return
        if scope["method"] != "POST":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body"})
            return
        self.asked = json.loads((await receive())["body"])
        head = {"id": "chatcmpl-1", "created": 1, "model": "kimi-k2"}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        if not self.asked.get("stream"):
            message = {"role": "assistant", "content": self.text}
            choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
            await self._whole(
                send, {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            )
            return
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
        rng, left = random.Random(len(self.text)), self.text
        while left:
            size = rng.randint(1, 9)
            deltas.append(({"content": left[:size]}, None))
            left = left[size:]
        deltas.append(({"content": ""}, "stop"))
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]}
            for delta, reason in deltas
        ]
        for chunk in [*chunks, {"choices": [], "usage": usage}]:
            event = json.dumps({**head, "object": "chat.completion.chunk", **chunk})
            body = f"data: {event}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _whole(self, send: Any, content: dict[str, Any]) -> None:
        kind = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})


@pytest.fixture(scope="module")
def kimi() -> Iterator[KimiLike]:
    one = KimiLike()
    yield one
    one.stop()


@pytest.fixture(scope="module", params=["engine", "kimi"])
def through(
    request: pytest.FixtureRequest, kimi: KimiLike, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A gateway before that server, which reads the calls itself or has the engine do so."""
    home = tmp_path_factory.mktemp("home")
    server = Server(
        Settings(checkpoint=checkpoint, home=home, engine_urls=(kimi.url,), engine_tools=request.param)
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The shipped model, answering questions on the demo database."""
    server = Server(
        Settings(checkpoint=WEIGHTS / "nano", home=tmp_path_factory.mktemp("home"), profile="fast", threads=1)
    )
    yield server
    server.stop()


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0)


def gathered(chunks: Any) -> tuple[str, list[dict[str, str]], list[str]]:
    """A stream's content, calls and reasons to finish."""
    content, calls, reasons = "", [], []
    for chunk in chunks:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for one in choice.delta.tool_calls or ():
                if one.id:
                    assert one.index == len(calls)
                    calls.append({"id": one.id, "name": one.function.name, "arguments": ""})
                calls[one.index]["arguments"] += one.function.arguments or ""
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
    return content, calls, reasons


CALLS = [("get_weather", '{"city": "Zürich"}'), ("get_weather", '{"city": "<|tool_call"}')]
EASY = [("get_weather", '{"city": "Bern"}')]
EXPECTED = [
    {"id": f"functions.get_weather:{i}", "name": "get_weather", "arguments": arguments}
    for i, (_, arguments) in enumerate(CALLS)
]


def test_calls_that_kimi_writes_reach_openais_client_as_its_own(kimi: KimiLike, through: Server) -> None:
    kimi.text = "Let me look.\n" + written(CALLS)
    with client_of(through) as client:
        options: Any = {"model": "kimi-k2", "messages": QUESTION, "tools": [WEATHER], "tool_choice": "auto"}
        found = client.chat.completions.create(**options)
        streamed = gathered(client.chat.completions.create(**options, stream=True))
    message = found.choices[0].message
    assert message.content == "Let me look."
    assert found.choices[0].finish_reason == "tool_calls"
    calls: Any = message.tool_calls
    assert [
        {"id": one.id, "name": one.function.name, "arguments": one.function.arguments} for one in calls
    ] == EXPECTED
    assert streamed == ("Let me look.\n", EXPECTED, ["tool_calls"])
    assert kimi.asked["tools"] == [WEATHER]
    if through.app.state.service.settings.engine_tools == "kimi":
        assert kimi.asked["tool_choice"] == "none"  # or vLLM without a parser refuses
        assert kimi.asked["skip_special_tokens"] is False
    else:
        assert kimi.asked["tool_choice"] == "auto"


def test_text_without_a_call_is_told_as_it_is(kimi: KimiLike, through: Server) -> None:
    kimi.text = "x < y, <| and <|tool_calls_section of nothing"
    with client_of(through) as client:
        options: Any = {"model": "kimi-k2", "messages": QUESTION, "tools": [WEATHER]}
        found = client.chat.completions.create(**options)
        assert found.choices[0].message.content == kimi.text
        assert found.choices[0].finish_reason == "stop"
        assert gathered(client.chat.completions.create(**options, stream=True)) == (kimi.text, [], ["stop"])


@given(
    content=st.text(max_size=20),
    calls=st.lists(st.tuples(st.sampled_from(["a", "b.c", "d-e"]), st.text(max_size=20)), max_size=3),
    cuts=st.lists(st.integers(1, 8), min_size=1),
)
def test_a_stream_says_what_the_whole_says_however_it_is_cut(
    content: str, calls: list[tuple[str, str]], cuts: list[int]
) -> None:
    text = content + (written(calls) if calls else "")
    reader, left, number = CallReader(), text, 0
    deltas = []
    while left:
        size = cuts[number % len(cuts)]
        deltas += list(reader.feed(left[:size]))
        left, number = left[size:], number + 1
    deltas += list(reader.feed("", last=True))
    assert "".join(one.get("content", "") for one in deltas) == content
    found = [("", "")] * reader.calls
    for delta in deltas:
        for one in delta.get("tool_calls", ()):
            name, arguments = found[one["index"]]
            name = one["function"].get("name", name)
            found[one["index"]] = (name, arguments + one["function"]["arguments"])
    assert found == calls


@given(st.text(max_size=80) | st.lists(st.sampled_from(written(CALLS).split("functions"))).map("".join))
def test_whatever_a_model_writes_nothing_breaks_and_no_text_between_calls_is_made_up(text: str) -> None:
    answer = {"choices": [{"message": {"content": text}, "finish_reason": "length"}]}
    found = json.loads(CallsInAnswers().whole(json.dumps(answer).encode()))["choices"][0]
    assert found["finish_reason"] in ("length", "tool_calls")
    assert (found["message"]["content"] or "") in text or "<|tool_call_begin|>" in text


def test_our_model_calls_the_one_tool_that_takes_sql(nano: Server) -> None:
    with client_of(nano) as client:
        options: Any = {"model": "suresql/demo", "messages": QUESTION}
        told = client.chat.completions.create(**options).choices[0].message.content
        options |= {"tools": [WEATHER, RUN], "tool_choice": "required"}
        found = client.chat.completions.create(**options).choices[0]
        assert found.finish_reason == "tool_calls"
        calls: Any = found.message.tool_calls
        assert [(one.id, one.function.name) for one in calls] == [("functions.run_query:0", "run_query")]
        assert json.loads(calls[0].function.arguments) == {"sql": told}
        assert found.message.content is None
        content, streamed, reasons = gathered(client.chat.completions.create(**options, stream=True))
        assert (content, reasons) == ("", ["tool_calls"])
        assert json.loads(streamed[0]["arguments"]) == {"sql": told}
        after = [
            *QUESTION,
            found.message.model_dump(),
            {"role": "tool", "tool_call_id": calls[0].id, "content": "[]"},
        ]
        last = client.chat.completions.create(
            **{**options, "messages": after, "tool_choice": "auto"}
        ).choices[0]
        assert (last.message.content, last.finish_reason) == (told, "stop")


def test_an_answer_that_abstains_is_told_unless_the_tool_has_to_be_called(
    tmp_path: Path, nano: Server
) -> None:
    doubtful = Server(
        Settings(checkpoint=WEIGHTS / "nano", home=tmp_path, profile="fast", threads=1, abstain_below=1.0)
    )
    try:
        with client_of(doubtful) as client:
            options: Any = {"model": "suresql/demo", "messages": QUESTION, "tools": [RUN]}
            assert client.chat.completions.create(**options).choices[0].message.tool_calls is None
            named = {"type": "function", "function": {"name": "run_query"}}
            found = client.chat.completions.create(**options, tool_choice=named)
            assert found.choices[0].message.tool_calls is not None
    finally:
        doubtful.stop()


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [WEATHER]},
        {"tools": [RUN, {**RUN, "function": {**RUN["function"], "name": "other"}}]},  # type: ignore[dict-item]
        {"tools": [RUN], "tool_choice": {"type": "function", "function": {"name": "missing"}}},
        {"tools": [RUN, WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        {"tools": [RUN], "tool_choice": "sometimes"},
        {"tools": {"name": "run"}},
        {"tools": ["run"]},
        {"tools": [{"type": "function", "function": {"parameters": {}}}]},
        {"tool_choice": "required"},
    ],
)
def test_tools_that_cannot_be_called_are_a_400_that_says_what_is_expected(
    nano: Server, options: dict[str, Any]
) -> None:
    with client_of(nano) as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="suresql/demo", messages=QUESTION, **options)
    error: Any = caught.value.body
    assert error["hint"]
    assert error["type"] == "bad_tools"


def test_the_model_that_writes_prompts_calls_no_tool_and_says_which_does(nano: Server) -> None:
    with client_of(nano) as client, pytest.raises(openai.BadRequestError, match="no tools"):
        client.chat.completions.create(model="nano", messages=QUESTION, tools=[RUN])  # type: ignore[list-item]


def test_many_streams_at_one_time_keep_their_calls_apart(kimi: KimiLike, through: Server) -> None:
    kimi.text = written(CALLS)

    async def one(client: openai.AsyncOpenAI) -> Any:
        stream = await client.chat.completions.create(
            model="kimi-k2", messages=QUESTION, tools=[WEATHER], stream=True  # type: ignore[list-item]
        )  # fmt: skip
        return gathered([chunk async for chunk in stream])

    async def many() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=through.url + "/v1", api_key="x", max_retries=0) as client:
            return await asyncio.gather(*(one(client) for _ in range(8)))

    assert asyncio.run(many()) == [("", EXPECTED, ["tool_calls"])] * 8


@pytest.mark.vllm
@pytest.mark.skipif(not environment(Settings()).ready, reason="vLLM is not installed")
def test_vllm_without_a_parser_of_calls_has_them_read_by_the_gateway(tmp_path: Path) -> None:
    """The model is made to write them: ours would not by itself."""
    options: dict[str, Any] = {"checkpoint": WEIGHTS / "nano", "engine": "vllm", "engine_timeout_s": 400}
    server = Server(Settings(home=tmp_path, engine_tools="kimi", **options))
    try:
        with client_of(server) as client:
            asked: Any = {
                "model": "nano", "messages": QUESTION, "tools": [WEATHER], "max_tokens": 200,
                "extra_body": {"structured_outputs": {"choice": [written(EASY)]}},
            }  # fmt: skip
            found = client.chat.completions.create(**asked).choices[0]
            calls: Any = found.message.tool_calls
            assert [(one.function.name, one.function.arguments) for one in calls] == EASY
            assert found.finish_reason == "tool_calls"
            _, streamed, reasons = gathered(client.chat.completions.create(**asked, stream=True))
            assert [(one["name"], one["arguments"]) for one in streamed] == EASY
            assert reasons == ["tool_calls"]
    finally:
        server.stop()
