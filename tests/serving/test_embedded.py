"""The embedded engine keeps the contract of an engine on a real, if random, checkpoint."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import Tokenizer
from serving.engines import embedded
from serving.engines.embedded import MAX_BATCH_TOKENS, MAX_ROWS, EmbeddedEngine
from serving.engines.engine import Completion
from serving.errors import CheckpointError, PromptTooLong

EOS = 2
PROMPTS = ["<bos><ask> how many<schema><tab> part<t0><sql>", "<bos><ask> name", "<bos>" + " the name of" * 30]

SCHEMAS = [
    "<bos><schema>" + "".join(f"<tab> name of<t{t}>" + f" name<num><c{t}>" * columns for t in range(4))
    for columns in (1, 3, 4)
]
QUESTIONS = [f"{SCHEMAS[i % 3]}<ask> how many {'names of ' * (i % 4)}the<t{i % 3}><sql>" for i in range(7)]


def test_a_batch_answers_in_the_order_that_was_asked_in(engine: EmbeddedEngine) -> None:
    together = [several[0].token_ids for several in engine.generate(PROMPTS, max_tokens=10)]
    assert together == [engine.generate([prompt], max_tokens=10)[0][0].token_ids for prompt in PROMPTS]


def test_scoring_a_completion_gives_the_logprobs_it_came_with(engine: EmbeddedEngine) -> None:
    references = [i for token, i in engine.special_tokens().items() if token.startswith(("<t", "<c"))]
    written = engine.generate(PROMPTS, max_tokens=5, allowed=[references] * len(PROMPTS))
    for prompt, (one,) in zip(PROMPTS, written, strict=True):
        text = one.text + ("<eos>" if one.finish_reason == "stop" else "")
        assert engine.score([prompt], [text]) == [pytest.approx(one.logprobs, abs=1e-3)]
        assert one.logprob == sum(one.logprobs)


def test_several_candidates_come_likeliest_first_and_differ(engine: EmbeddedEngine) -> None:
    for several in engine.generate(PROMPTS, max_tokens=6, n=3):
        logprobs = [one.logprob for one in several]
        assert logprobs == sorted(logprobs, reverse=True)
        assert len({one.token_ids for one in several}) == 3


def test_samples_with_the_same_seed_are_the_same(engine: EmbeddedEngine) -> None:
    def ids(seed: int) -> list[tuple[int, ...]]:
        drawn = engine.generate(PROMPTS, max_tokens=6, n=2, temperature=1.0, seed=seed)
        return [one.token_ids for several in drawn for one in several]

    assert ids(1) == ids(1) != ids(2)


def test_a_mask_bars_all_other_tokens(engine: EmbeddedEngine) -> None:
    allowed = [[400, 401], None, [402]]
    for mask, (one,) in zip(allowed, engine.generate(PROMPTS, max_tokens=8, allowed=allowed), strict=True):
        assert mask is None or set(one.token_ids) <= {*mask, EOS}


def test_a_completion_says_what_it_took_and_why_it_ended(engine: EmbeddedEngine, checkpoint: Path) -> None:
    ((stopped,),) = engine.generate([PROMPTS[1]], max_tokens=4, allowed=[[]])
    assert (stopped.text, stopped.finish_reason, stopped.token_ids) == ("", "stop", (EOS,))
    for prompt, (one,) in zip(PROMPTS, engine.generate(PROMPTS, max_tokens=3), strict=True):
        assert (one.finish_reason == "stop") == (one.token_ids[-1] == EOS)
        assert len(one.token_ids) == 3 or one.finish_reason == "stop"
        assert one.prompt_tokens == len(Tokenizer.load(checkpoint).encode(prompt))


def test_nothing_asked_is_nothing_answered(engine: EmbeddedEngine) -> None:
    assert engine.generate([], max_tokens=4) == []
    assert engine.score([], []) == []


def test_a_prompt_beyond_the_context_is_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(PromptTooLong, match="2048"):
        engine.generate(["<v0>" * 2040], max_tokens=10)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_checkpoint_that_lacks_a_file_is_refused(checkpoint: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(checkpoint, folder)
    (folder / missing).unlink()
    with pytest.raises(CheckpointError):
        EmbeddedEngine(folder)


def test_a_checkpoint_that_is_cut_short_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(checkpoint, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        EmbeddedEngine(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere") as caught:
        EmbeddedEngine(tmp_path / "nowhere")
    assert "suresql train" in caught.value.hint


def texts_and_logprobs(answers: list[list[Completion]]) -> list[tuple[str, object]]:
    return [(one.text, pytest.approx(one.logprobs, abs=1e-4)) for several in answers for one in several]


@pytest.fixture(scope="module")
def forgetful(checkpoint: Path) -> EmbeddedEngine:
    return EmbeddedEngine(checkpoint, threads=1, prefix_bytes=0)


@pytest.mark.parametrize("prefix_bytes", [2**20, 20_000])
def test_an_engine_that_keeps_prefixes_answers_as_one_that_does_not(
    checkpoint: Path, forgetful: EmbeddedEngine, prefix_bytes: int
) -> None:
    engine = EmbeddedEngine(checkpoint, threads=1, prefix_bytes=prefix_bytes)
    for _ in ("cold", "warm"):
        for prompts in (QUESTIONS, [*PROMPTS, QUESTIONS[4]]):
            for n in (1, 3):
                expected = texts_and_logprobs(forgetful.generate(prompts, max_tokens=6, n=n))
                found = engine.generate(prompts, max_tokens=6, n=n)
                assert [(one.text, one.logprobs) for several in found for one in several] == expected
            endings = [" select count<yes>", "<no>", *["<t0> of"] * (len(prompts) - 2)]
            assert engine.score(prompts, endings) == [
                pytest.approx(logprobs, abs=1e-4) for logprobs in forgetful.score(prompts, endings)
            ]
        assert 0 < engine._prefixes.bytes <= prefix_bytes


def test_several_threads_share_the_prefixes(checkpoint: Path, forgetful: EmbeddedEngine) -> None:
    engine = EmbeddedEngine(checkpoint, threads=1, prefix_bytes=20_000)

    def answer(i: int) -> tuple[int, ...]:
        return engine.generate([QUESTIONS[i % 7]], max_tokens=5)[0][0].token_ids

    expected = [one[0].token_ids for one in forgetful.generate(QUESTIONS, max_tokens=5)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, range(28))) == expected * 4


@given(st.lists(st.tuples(st.integers(0, 2048), st.integers(1, 2048)), max_size=60), st.integers(1, 16))
def test_a_batch_is_within_its_bounds_as_it_is_padded(widths: list[tuple[int, int]], rows_each: int) -> None:
    batches = list(embedded._batches(widths, rows_each))
    assert sorted(i for batch in batches for i in batch) == list(range(len(widths)))
    for batch in batches:
        rows = len(batch) * rows_each
        width = max(widths[i][0] for i in batch) + max(widths[i][1] for i in batch)
        assert len(batch) == 1 or (rows <= MAX_ROWS and rows * width <= MAX_BATCH_TOKENS)
