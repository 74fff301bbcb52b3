"""Tokenised data: what bears loss, and what stands on the disk."""

import io
import signal
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console
from token_data import make

from optim import DataError, DatasetBuilder, TokenDataset
from optim.dataset import ARRAYS, Branch
from optim.prepare import sample_texts, tokenise


def test_of_itself_only_the_target_bears_loss_and_padding_is_zero():
    builder = DatasetBuilder(100, max_length=8)
    builder.add([1, 11, 12], [21, 22, 2], "a")
    builder.add([1], [31, 2], "a")
    tokens_BT, targets_BT = builder.build().collate([0, 1])
    assert tokens_BT.tolist() == [[1, 11, 12, 21, 22], [1, 31, 0, 0, 0]]
    assert targets_BT.tolist() == [[-100, -100, 21, 22, 2], [31, 2, -100, -100, -100]]


def test_of_a_prompt_what_is_named_bears_loss_and_the_examples_beside_it_are_as_they_were():
    builder = DatasetBuilder(100, max_length=8)
    builder.add([1, 11, 12], [21, 2], "a", learned=[False, False, True])
    builder.add([1, 11, 12], [21, 2], "a")
    _, targets_BT = builder.build().collate([0, 1])
    assert targets_BT.tolist() == [[-100, 12, 21, 2], [-100, -100, 21, 2]]


class Letters:
    """A token a character."""

    def encode_batch(self, texts):
        return [[ord(character) for character in text] for text in texts]


@dataclass
class Plain:
    prompt: str
    target: str
    task: str = "plain"


@dataclass
class Linked(Plain):
    linked: str = ""
    weight: float = 1.0
    given: str = ""


def test_of_linked_text_only_the_references_bear_loss():
    console = Console(file=io.StringIO())
    pairs = [Linked("s1:", "q1$", "ask", "how 1 and 2?", 2.0), Plain("1 is", "no")]
    options = {"vocabulary": 128, "max_length": 99, "eos": ord("$"), "console": console}
    dataset = tokenise(pairs, Letters(), **options, learned_in_linked=frozenset(map(ord, "12"))).build()
    _, targets_BT = dataset.collate([0, 1])
    shown = ["".join("." if t == -100 else chr(t) for t in row) for row in targets_BT.tolist()]
    assert shown[0] == "......1.....2.q1$"  # the prompt's first token is no target, its 1 bears no loss
    assert shown[1].rstrip(".") == "...no$"
    assert dataset.weight.tolist() == [2.0, 1.0]
    without = tokenise(pairs, Letters(), **options).build()
    assert without.learned.sum() == dataset.learned.sum() - 2


def test_what_is_given_behind_linked_text_bears_no_loss():
    pairs = [Linked("s:", "q$", "ask", "1?", given="12|")]
    options = {"vocabulary": 128, "max_length": 99, "eos": ord("$"), "console": Console(file=io.StringIO())}
    dataset = tokenise(pairs, Letters(), **options, learned_in_linked=frozenset(map(ord, "12"))).build()
    tokens_BT, targets_BT = dataset.collate([0])
    assert "".join(map(chr, tokens_BT[0].tolist())) == "s:1?12|q"
    assert "".join("." if t == -100 else chr(t) for t in targets_BT[0].tolist()) == ".1....q$"


def test_the_tokenizer_learns_from_linked_text_too():
    pairs = [Linked("s:", "q", "ask", " how?", given="!"), Plain("a", "b")]
    assert sorted(sample_texts(pairs, 2, seed=0)) == ["a", "b", "q", "s: how?!"]


def test_without_a_prompt_all_but_the_first_token_are_targets():
    builder = DatasetBuilder(100, max_length=8)
    builder.add([], [5, 6, 2], "a")
    tokens_BT, targets_BT = builder.build().collate([0])
    assert (tokens_BT.tolist(), targets_BT.tolist()) == ([[5, 6]], [[6, 2]])


def test_too_long_and_empty_examples_are_dropped_and_counted_by_task():
    builder = DatasetBuilder(100, max_length=4)
    builder.add([1, 2], [3, 4], "fits")
    builder.add([1, 2], [3, 4, 5], "long")
    builder.add([1, 2], [], "empty")
    assert builder.counts == {"fits": [1, 0, 4], "long": [0, 1, 0], "empty": [0, 1, 0]}
    assert builder.build().tasks == ("fits",)


def test_nothing_to_train_on_is_an_error():
    builder = DatasetBuilder(100, max_length=2)
    builder.add([1, 2], [3], "long")
    with pytest.raises(DataError, match="no training example of at most 2 tokens"):
        builder.build()


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.int32)])
def test_it_comes_back_from_disk_in_the_smallest_type(tmp_path, vocabulary, dtype):
    dataset = make([5, 9, 30], vocabulary=vocabulary)
    dataset.write(tmp_path / "data", with_files=lambda folder: (folder / "more").write_text("x"))
    again = TokenDataset.read(tmp_path / "data")
    assert again.tokens.dtype == dtype
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(dataset, name))
    assert again.tasks == dataset.tasks == ("task0", "task1")
    assert (tmp_path / "data" / "more").read_text() == "x"
    (tmp_path / "data" / "offsets.npy").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"data is damaged.*remove that folder"):
        TokenDataset.read(tmp_path / "data")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        make([5]).write(tmp_path / "data", with_files=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make([5]).write(tmp_path / "data", with_files=lambda folder: signal.raise_signal(signal.SIGINT))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "run").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"not be written to .*run/data: .*choose another output\.run"):
        make([5]).write(tmp_path / "run" / "data")


@dataclass
class Shared(Linked):
    shared: str = ""
    alone: bool = False


def shown(row, blank=-100):
    return "".join("." if token == blank else chr(token) for token in row)


def test_texts_that_begin_alike_share_a_sequence_and_bear_the_loss_they_bear_apart():
    pairs = [
        Shared("", "A$", "ask", "q1?", shared="schema:"),
        Shared("t", "B$", "tell", shared="schema:", alone=True),
        Shared("", "C$", "ask", "r2?", shared="schema:"),
        Shared("p", "D$", "ask"),
    ]
    options = {"vocabulary": 128, "max_length": 99, "eos": ord("$"), "console": Console(file=io.StringIO())}
    builder = tokenise(pairs, Letters(), **options, learned_in_linked=frozenset(map(ord, "12")))
    assert builder.counts == {"ask": [3, 0, 20], "tell": [1, 0, 3]}
    tokens_BT, targets_BT, branch_BT = builder.build().collate([0, 1])
    assert shown(tokens_BT[0], 0) == "schema:q1?A$r2?C$tB"
    assert shown(targets_BT[0]) == ".......1.A$.2.C$.B$"
    assert branch_BT[0].tolist() == [0] * 7 + [1] * 5 + [2] * 5 + [-1] * 2
    assert shown(targets_BT[1]).rstrip(".") == "D$"


def test_a_trunk_is_repeated_where_its_branches_do_not_fit_and_none_is_lost():
    builder = DatasetBuilder(100, max_length=30)
    branches = [Branch([3], [4] * (i % 7 + 1), "a", [False]) for i in range(40)]
    builder.add_tree([9] * 10, [*branches, Branch([3], [4] * 25, "a", [False])])
    dataset = builder.build()
    assert builder.counts["a"][:2] == [40, 1]
    assert dataset.lengths.max() <= 30 and (dataset.lengths > 15).all()
    rows = [dataset.tokens[a:b] for a, b in pairwise(dataset.offsets)]
    assert all((row[:10] == 9).all() for row in rows)
    assert sum((row == 3).sum() for row in rows) == 40
    assert (dataset.tokens == 4).sum() == sum(len(branch.target) for branch in branches)


def test_the_loss_of_one_task_is_on_its_tokens_alone():
    builder = DatasetBuilder(100, max_length=30)
    builder.add_tree([9, 9], [Branch([3], [4, 2], "a", [False]), Branch([5], [6, 2], "b", [False])])
    builder.add([3], [4, 2], "a")
    dataset = builder.build()
    assert dataset.of_task(np.arange(2), dataset.tasks.index("b")).tolist() == [0]
    _, targets_BT, _ = dataset.collate([0], task=dataset.tasks.index("b"))
    assert targets_BT[0].tolist() == [-100, -100, -100, -100, -100, 6, 2]
