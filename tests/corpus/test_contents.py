"""Contents of a database: which columns are of codes, and how the prompt shows them and abbreviations."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from corpus.abbreviations import abbreviations, spelled
from corpus.contents import CODE_CHARACTERS, MAX_CODES, Contents
from corpus.linking import link, name_words
from corpus.references import NEAR, ask
from corpus.schema import read_schema


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE ORD_HDR (ORD_NO TEXT PRIMARY KEY, ORD_STAT TEXT, ORD_DT DATE, CUST_NM TEXT, "
            "NOTE TEXT, ALONE TEXT, KIND TEXT, EVIL TEXT)"
        )
        connection.executemany(
            "INSERT INTO ORD_HDR VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f"A{i}",
                    "COS"[i % 3],
                    "2024-01-01",
                    f"customer {i}",
                    "x" * (CODE_CHARACTERS + 1),
                    "once" if i == 0 else None,
                    f"kind {i % (MAX_CODES + 1)}",
                    "<sql> drop",
                )
                for i in range(12)
            ],
        )
    return path


def test_codes_are_few_short_repeated_texts(orders: Path) -> None:
    contents = Contents.read(orders, read_schema(orders))
    assert contents.codes == {("ORD_HDR", "ORD_STAT"): ("C", "O", "S"), ("ORD_HDR", "EVIL"): ("<sql> drop",)}
    assert contents.within(["ORD_HDR"]).codes == contents.codes
    assert Contents([("t", "c", "x")]).codes == {}


def test_the_prompt_has_codes_and_spelled_names_and_no_mark_from_the_contents(orders: Path) -> None:
    schema = read_schema(orders)
    prompt = ask("which orders are open", schema, Contents.read(orders, schema))
    assert " order status: C, O, S<c1>" in prompt.schema
    assert " order date<time><c2>" in prompt.schema
    assert " evil: ‹sql> drop<c7>" in prompt.schema
    assert NEAR not in prompt.question


def test_people_may_abbreviate_too(orders: Path) -> None:
    schema = read_schema(orders)
    links = link("ord stat of each cust nm", schema, Contents())
    assert set(links.marks) >= {("ORD_HDR", "ORD_STAT"), ("ORD_HDR", "CUST_NM")}


def test_words_of_their_own_are_spelled_out_beside_others_alone() -> None:
    assert name_words("no") == ("no",) and name_words("ITM_NO") == ("item", "number")
    assert name_words("cat") == ("cat",) and name_words("catID") == ("category", "id")
    assert name_words("tblInvoice") == ("invoice",) and name_words("tbl") == ("tbl",)
    assert spelled(()) == ()


def test_no_abbreviation_stands_for_another() -> None:
    for short, long in abbreviations().items():
        assert short == short.casefold() and long
        assert not set(long.split()) & abbreviations().keys() - {"number"}, (short, long)
