"""vLLM, for real: it thinks of a text what transformers thinks, with and without latent attention, and outlives its end."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from corpus import references
from corpus.grammar_lark import sql_lark
from corpus.grammar_tokens import Grammar
from corpus.references import EOS, SPECIAL_TOKENS
from model import ModelConfig, Tokenizer, Transformer
from model.hf import export
from serving.assembly import load_pipeline
from serving.databases import Databases
from serving.engines.cancel import Cancel, stoppable
from serving.engines.chat_engine import ChatEngine
from serving.engines.embedded import EmbeddedEngine
from serving.engines.opening import ReferenceEngine, SupervisedEngine, connect, open_engine
from serving.engines.vllm import environment
from serving.errors import Gone
from serving.settings import WEIGHTS, Settings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not environment(Settings()).ready, reason="vLLM is not installed"),
]
QUESTIONS = (
    "which suppliers are in Germany?",
    "how many parts does each warehouse hold?",
    "average price of parts",
)


def serving(home: Path, **more: object) -> Settings:
    return Settings(home=home, engine="vllm", engine_dtype="float32", engine_timeout_s=400, threads=1, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def nano(home: Path) -> Iterator[SupervisedEngine]:
    engine = open_engine(serving(home))
    assert isinstance(engine, SupervisedEngine)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def reference() -> EmbeddedEngine:
    return EmbeddedEngine(WEIGHTS / "nano", threads=1)


@pytest.fixture(scope="module")
def prompts(home: Path) -> list[str]:
    demo = Databases(home).get("demo")
    return [references.ask(question, demo.schema(), demo.contents()).text for question in QUESTIONS]


def assert_same_thoughts(one: ReferenceEngine, other: ReferenceEngine, prompts: list[str]) -> None:
    texts = [found[0].text + EOS for found in other.generate(prompts, max_tokens=40)]
    for mine, theirs in zip(one.score(prompts, texts), other.score(prompts, texts), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


def test_the_shipped_checkpoint_has_the_log_probabilities_that_transformers_gives(
    nano: SupervisedEngine, reference: EmbeddedEngine, prompts: list[str]
) -> None:
    assert_same_thoughts(nano, reference, prompts)


@pytest.mark.parametrize("mla", [True, False])
def test_latent_attention_switched_on_or_off_gives_the_same(tmp_path: Path, mla: bool) -> None:
    torch.manual_seed(0)
    special = [token for token in SPECIAL_TOKENS if token not in ("<pad>", "<bos>", "<eos>")]
    tokenizer = Tokenizer.train(["select count ( * ) from where group by order by limit"] * 20, 600, special)
    config = ModelConfig(
        vocab_size=608, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, kv_lora_rank=512,
        qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, intermediate_size=128,
        moe_intermediate_size=64, n_routed_experts=8, num_experts_per_tok=2, max_position_embeddings=512,
    )  # fmt: skip
    folder = tmp_path / "latent"
    export(Transformer(config), tokenizer, folder, dtype=torch.float32)
    engine = open_engine(serving(tmp_path, checkpoint=folder, vllm_mla=mla))
    try:
        prompts = ["<bos><schema><tab> a<t0> b<c0><ask> how many" + " rows" * 30, "select count ( * )" * 8]
        texts = [" from where group by" * 4 + EOS, " order by limit <c0>" + EOS]
        own = EmbeddedEngine(folder, threads=1)
        for mine, theirs in zip(engine.score(prompts, texts), own.score(prompts, texts), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-3)
    finally:
        engine.close()


def test_beams_samples_and_masks_are_as_in_the_embedded_engine(
    nano: SupervisedEngine, reference: EmbeddedEngine, prompts: list[str]
) -> None:
    special = nano.special_tokens()
    allowed = [[i for i in range(nano.vocabulary_size) if i != special["<c1>"]]] * len(prompts)
    for options in ({"n": 1}, {"n": 4}, {"n": 4, "allowed": allowed}, {"n": 1, "allowed": allowed}):
        mine = nano.generate(prompts, max_tokens=40, **options)  # type: ignore[arg-type]
        theirs = reference.generate(prompts, max_tokens=40, **options)  # type: ignore[arg-type]
        for several, expected in zip(mine, theirs, strict=True):
            assert [one.text for one in several[:3]] == [one.text for one in expected[:3]]
            assert several[0].logprobs == pytest.approx(expected[0].logprobs, abs=1e-3)
    drawn = nano.generate(prompts[:1], max_tokens=20, n=3, temperature=1.0, seed=1)[0]
    again = reference.score([prompts[0]] * 3, [one.text + EOS for one in drawn])
    for one, expected in zip(drawn, again, strict=True):
        if one.finish_reason == "stop":  # at temperature 1 as at any, what the whole distribution says
            assert one.logprobs == pytest.approx(expected, abs=1e-3)


def test_a_grammar_binds_the_beams_as_in_the_embedded_engine(
    nano: SupervisedEngine, reference: EmbeddedEngine, home: Path
) -> None:
    demo = Databases(home).get("demo")
    asked = [references.ask(question, demo.schema(), demo.contents()) for question in QUESTIONS]
    for n in (1, 3):
        mine, theirs = (
            one.generate(
                [prompt.text for prompt in asked],
                max_tokens=40,
                n=n,
                constraints=[Grammar(prompt.binding, one.grammar_vocabulary) for prompt in asked],
            )
            for one in (nano, reference)
        )
        for prompt, several, expected in zip(asked, mine, theirs, strict=True):
            assert [one.text for one in several] == [one.text for one in expected]
            for one in several:
                assert Grammar(prompt.binding, nano.grammar_vocabulary).accepts(one.token_ids)


def test_a_model_that_is_not_ours_keeps_to_a_grammar_where_that_is_wanted(
    home: Path, nano: SupervisedEngine
) -> None:
    """Our own stands in for it: asked in words that it was never trained on, it would write anything."""
    settings = Settings(home=home, engine_urls=(nano.processes[0].url,), engine_timeout_s=400)
    with closing(ChatEngine(connect(settings), nano.model_name)) as engine:
        asked = [[{"role": "user", "content": "one or two?"}]]
        grammars = ['start: " select 1" | " select 2"', sql_lark(Databases(home).get("demo").schema())]
        (one,), (other,) = (engine.chat(asked, max_tokens=12, grammars=[rule])[0] for rule in grammars)
        assert (one.text, one.finish_reason) in ((" select 1", "stop"), (" select 2", "stop"))
        assert other.text.casefold().startswith(" select")
        (free,) = engine.chat(asked, max_tokens=12)[0]
        assert not free.text.casefold().startswith(" select")


def test_what_nobody_waits_for_is_stopped_in_the_engine(nano: SupervisedEngine, prompts: list[str]) -> None:
    flag, raised = Cancel(), threading.Event()

    def ask() -> None:
        with stoppable(flag):
            try:
                nano.generate(prompts[:1], max_tokens=1_500, n=2, temperature=2.0)
            except Gone:
                raised.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while nano.remote.replicas.all[0].in_flight == 0:
        time.sleep(0.01)
    flag.set()
    thread.join(10)
    assert raised.is_set()
    until = time.monotonic() + 10  # the request is given up in the loop's own thread, a moment later
    while nano.remote.replicas.all[0].in_flight and time.monotonic() < until:
        time.sleep(0.01)
    assert nano.remote.replicas.all[0].in_flight == 0


def test_a_pipeline_on_vllm_answers_as_the_embedded_one_does(home: Path, nano: SupervisedEngine) -> None:
    url = nano.processes[0].url
    elsewhere = load_pipeline(Settings(home=home, engine_urls=(url,), threads=1))
    here = load_pipeline(Settings(home=home, threads=1))
    demo = Databases(home).get("demo")
    questions = [(question, demo) for question in QUESTIONS]
    for mine, theirs in zip(elsewhere.ask(questions), here.ask(questions), strict=True):
        assert mine.sql == theirs.sql
        assert mine.confidence == pytest.approx(theirs.confidence, abs=0.01)
    elsewhere.engine.close()


def test_an_engine_that_is_killed_is_started_again_and_no_question_fails(
    nano: SupervisedEngine, prompts: list[str]
) -> None:
    before = nano.score(prompts[:1], [" select" + EOS])
    process = nano.processes[0]
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.killpg(int(found.stdout.split()[0]), signal.SIGKILL)
    assert nano.score(prompts[:1], [" select" + EOS]) == [pytest.approx(before[0], abs=1e-3)]
    assert process.restarts >= 1
