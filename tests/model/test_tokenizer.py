"""The tokenizer loses nothing, and transformers reads it as we do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TINY, seeded
from transformers import AutoTokenizer

from model import ModelError, Tokenizer, export

SAMPLE = "Which  suppliers of `sales_order_2019` are 'late'?<q> <sql>\n\tSELECT * -- ünï 東京 🙂"

texts = st.lists(
    st.one_of(st.text(), st.sampled_from(["<q>", "<sql>", "<pad>", " ", "  ", "_", "2019", " name", "\r\n"]))
).map("".join)


@pytest.fixture(scope="module")
def stored(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint: its config.json also has a say in what AutoTokenizer does."""
    folder = tmp_path_factory.mktemp("tokenizer") / "out"
    export(seeded(TINY), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def auto(stored: Path) -> object:
    return AutoTokenizer.from_pretrained(stored)


@given(text=texts)
def test_decoding_returns_the_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=texts)
def test_transformers_encodes_and_decodes_alike(tokenizer: Tokenizer, auto, text: str) -> None:
    ids = tokenizer.encode(text)
    assert auto(text, add_special_tokens=True)["input_ids"] == ids
    assert auto.decode(ids) == text


def test_special_tokens_are_atomic_and_leave_spaces_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_tokens == ["<pad>", "<bos>", "<eos>", "<q>", "<sql>"]
    assert [tokenizer.token_id(token) for token in tokenizer.special_tokens] == [0, 1, 2, 3, 4]
    space = tokenizer.encode(" ")
    assert tokenizer.encode(" <q> <sql>x") == [*space, 3, *space, 4, *tokenizer.encode("x")]


def test_digits_and_underscores_stand_alone(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.decode([index]) for index in tokenizer.encode("late_orders in 2019, 20_x")]
    assert [piece for piece in pieces if "_" in piece] == ["_", "_"]
    digits = [piece for piece in pieces if any(map(str.isdigit, piece))]
    assert digits == [" 2", "0", "1", "9", " 2", "0"]


def test_transformers_knows_the_special_tokens_and_the_template(auto) -> None:
    assert (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id) == (0, 1, 2)
    shown = auto.apply_chat_template([{"role": "user", "content": "hm"}], tokenize=False)
    assert shown == "<q>hm"


def test_a_stored_tokenizer_is_the_same(tokenizer: Tokenizer, stored: Path) -> None:
    again = Tokenizer.load(stored)
    assert again.encode(SAMPLE) == tokenizer.encode(SAMPLE)
    assert again.chat_template == tokenizer.chat_template
    assert len(again) == len(tokenizer)
    assert again.encode_batch([SAMPLE, ""]) == [tokenizer.encode(SAMPLE), []]


@pytest.mark.parametrize(
    ("size", "specials", "says"),
    [(200, [], "need 259 or more"), (400, ["<eos>"], "must differ"), (400, ["<a>", "<a>"], "must differ")],
)
def test_impossible_vocabularies_are_refused(size: int, specials: list[str], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Tokenizer.train(["text"], size, specials)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the tokenizer"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot read the tokenizer"):
        Tokenizer.load(tmp_path)
