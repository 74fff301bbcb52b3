"""Does the SQL stand on the database's keys, types and values: each rule on SQL that breaks it and on SQL that keeps it."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.contents import Contents
from sqlconf.ddl import schema_of
from sqlconf.grounding import WEIGHTS, ContentsView, Grounding, findings
from sqlconf.signal import Answer, Signal

CONCERTS = schema_of("""
    CREATE TABLE stadium (id INTEGER PRIMARY KEY, name TEXT, city TEXT, capacity INTEGER, rooms TEXT, room_count TEXT);
    CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER, is_active BOOLEAN);
    CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, theme TEXT, held_date DATE, start_date TEXT, year INTEGER,
                          stadium_id INTEGER REFERENCES stadium (id),
                          singer_id INTEGER REFERENCES singer (singer_id));
    CREATE TABLE festival (festival_id INTEGER PRIMARY KEY, stadium_id INTEGER, host VARCHAR(20));
""")
VALUES = Contents(
    [
        ("singer", "country", "France"),
        ("singer", "name", "Ella Stone"),
        ("stadium", "city", "Lima"),
        ("stadium", "name", "Money"),
        ("concert", "theme", "Free Choice"),
        ("concert", "theme", "open air"),
    ]
)
MET = "FROM singer AS s JOIN concert AS c ON c.singer_id = s.singer_id"

STANDS = [
    "SELECT count(*) FROM singer",
    f"SELECT s.name, c.theme {MET}",
    "SELECT name, theme FROM singer JOIN concert ON singer.singer_id = concert.singer_id",
    "SELECT s.name FROM singer s, concert c WHERE s.singer_id = c.singer_id AND c.year = 2014",
    "SELECT name FROM singer JOIN concert USING (singer_id) WHERE year > 2014",
    "SELECT host FROM festival AS f JOIN concert AS c ON f.stadium_id = c.stadium_id WHERE c.year = 2014",
    "SELECT s.name, t.name FROM singer AS s JOIN stadium AS t ON s.age < t.capacity",
    "SELECT avg(age), max(name) FROM singer",
    "SELECT sum(room_count) FROM stadium",
    "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)",
    "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM concert)",
    "SELECT name FROM singer WHERE singer_id IN (SELECT singer_id FROM singer WHERE age > 3)",
    "SELECT name FROM singer UNION SELECT name FROM stadium ORDER BY name",
    "SELECT country, count(*) FROM singer GROUP BY country ORDER BY count(*) DESC LIMIT 1",
    f"SELECT s.name, count(*) {MET} GROUP BY s.singer_id",
    f"SELECT s.name, count(*) {MET} GROUP BY c.singer_id",
    "SELECT country AS c, count(*) AS n FROM singer GROUP BY c HAVING n > 2",
    "SELECT theme FROM concert WHERE held_date > '2014-01-01' AND start_date < '2015-01-01'",
    "SELECT theme FROM concert WHERE singer_id = 3 AND theme LIKE '%x%'",
    "SELECT name FROM singer WHERE is_active = 1 ORDER BY age LIMIT 3",
    "SELECT theme FROM concert ORDER BY start_date DESC LIMIT 1",
    "WITH old AS (SELECT * FROM singer WHERE age > 60) SELECT name FROM old",
    "SELECT name FROM (SELECT name, age FROM singer) AS x WHERE age > 2",
    "SELECT name FROM singer WHERE country = 'France' OR country = \"Peru\"",
    "SELECT s.name FROM singer s WHERE EXISTS (SELECT 1 FROM concert c WHERE c.singer_id = s.singer_id)",
]

STUMBLES = [
    ("SELECT name FROM band", "no such name"),
    ("SELECT height FROM singer", "no such name"),
    ("SELECT x.name FROM singer AS s", "no such name"),
    ("SELECT s.name, c.theme FROM singer AS s, concert AS c", "cross join"),
    ("SELECT s.name, c.theme FROM singer AS s JOIN concert AS c ON TRUE", "cross join"),
    ("SELECT s.name, c.theme FROM singer AS s JOIN concert AS c ON s.singer_id <> c.singer_id", "cross join"),
    ("SELECT s.name, c.theme FROM singer AS s JOIN concert AS c ON s.age = c.year", "no key"),
    ("SELECT s.name, t.city FROM singer AS s JOIN stadium AS t ON s.name = t.city", "no key"),
    ("SELECT c.theme FROM concert AS c JOIN singer AS s ON c.singer_id = s.singer_id", "idle join"),
    ("SELECT avg(name) FROM singer", "type"),
    ("SELECT sum(held_date) FROM concert", "type"),
    ("SELECT sum(singer_id) FROM concert", "key as number"),
    ("SELECT max(concert_id) FROM concert", "key as number"),
    ("SELECT theme FROM concert WHERE concert_id > 150", "key as number"),
    ("SELECT theme FROM concert ORDER BY stadium_id DESC LIMIT 1", "key as number"),
    ("SELECT name FROM singer ORDER BY country DESC LIMIT 5", "type"),
    ("SELECT name FROM singer WHERE name > 25", "type"),
    ("SELECT name FROM singer WHERE 25 < name", "type"),
    ("SELECT theme FROM concert WHERE held_date = 2014", "type"),
    ("SELECT theme FROM concert WHERE held_date = 'March'", "type"),
    ("SELECT name FROM singer WHERE age = 'France'", "type"),
    ("SELECT theme FROM concert WHERE singer_id = 'Ella'", "type"),
    ("SELECT name FROM singer WHERE country > 'France'", "type"),
    ("SELECT name FROM singer WHERE age LIKE '%3%'", "type"),
    ("SELECT name FROM stadium WHERE capacity > city", "type"),
    ("SELECT name FROM singer WHERE singer_id NOT IN (SELECT year FROM concert)", "unlike columns"),
    ("SELECT name FROM singer UNION SELECT capacity FROM stadium", "unlike columns"),
    ("SELECT name FROM singer WHERE age = (SELECT max(year) FROM concert)", "unlike columns"),
    ("SELECT name FROM singer WHERE name NOT IN (SELECT name FROM singer)", "always so"),
    ("SELECT name FROM singer WHERE country = 'France' AND country = 'Peru'", "never so"),
    ("SELECT name FROM singer WHERE age BETWEEN 9 AND 3", "never so"),
    ("SELECT name FROM singer WHERE age BETWEEN 9 AND 'Peru'", "never so"),
    ("SELECT name FROM singer WHERE age > age", "never so"),
    ("SELECT country, count(*) FROM singer", "ungrouped"),
    ("SELECT country, count(*) FROM singer GROUP BY name", "ungrouped"),
    ("SELECT count(*) FROM singer GROUP BY country", "group not shown"),
    ("SELECT name FROM singer GROUP BY name", "idle group"),
    ("SELECT country FROM singer WHERE country = 'France'", "echo"),
    ("SELECT age, age FROM singer", "twice"),
]


def kinds(sql: str, question: str = "", contents: ContentsView | None = None) -> set[str]:
    result = findings(Answer(question, sql, CONCERTS), contents)
    assert result is not None
    return {finding.kind for finding in result}


@pytest.mark.parametrize("sql", STANDS)
def test_nothing_is_amiss_with_sql_along_keys_and_types(sql: str) -> None:
    assert kinds(sql) == set()


@pytest.mark.parametrize(("sql", "kind"), STUMBLES)
def test_what_is_amiss_is_found(sql: str, kind: str) -> None:
    assert kind in kinds(sql)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("country = 'France'", set()),
        ("country = 'FRANCE'", set()),
        ("country IN ('France', 'Lima')", {"value elsewhere"}),
        ("country <> 'Lima'", {"value elsewhere"}),
        ("country = 'Atlantis'", {"value of nowhere"}),
        ("country LIKE '%Atlantis%'", set()),
        ("country = 'F'", set()),
    ],
)
def test_a_text_belongs_into_its_column(where: str, found: set[str]) -> None:
    sql = f"SELECT name FROM singer WHERE {where}"
    assert kinds(sql, contents=VALUES) == found
    assert kinds(sql) == set()


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Names of singers from France", set()),
        ("Names of singers from France who sang Free Choice", {"value left out"}),
        ("Names of singers from France at open air concerts", {"value left out"}),
        ("How much money have singers from France?", set()),
    ],
)
def test_a_value_that_the_question_says_belongs_into_the_sql(question: str, found: set[str]) -> None:
    assert kinds("SELECT name FROM singer WHERE country = 'France'", question, VALUES) == found


def test_the_contents_are_asked_for_with_the_answer_and_may_be_unknown() -> None:
    answer = Answer("", "SELECT name FROM singer WHERE country = 'Lima'", CONCERTS)
    seen: list[Answer] = []

    def unknown(one: Answer) -> ContentsView | None:
        seen.append(one)
        return None

    assert Grounding(unknown).measure([answer])[0].value == 1.0
    assert seen == [answer]
    reading = Grounding(lambda one: VALUES).measure([answer])[0]
    assert reading.value == 0.25
    assert reading.note == "'Lima' is not in country but in stadium.city"


def test_the_value_falls_with_what_is_amiss() -> None:
    right, wrong, worse = (
        reading.value
        for reading in Grounding().measure(
            [
                Answer("", f"SELECT {what} FROM singer", CONCERTS)
                for what in ("avg(age)", "avg(name)", "avg(name), avg(name)")
            ]
        )
    )
    assert right == 1.0
    assert right > wrong > worse > 0


@pytest.mark.parametrize("sql", ["", "SELECT FROM", "SELECT 1; SELECT 2", "DELETE FROM singer"])
def test_what_is_not_one_query_is_missing_with_a_reason(sql: str) -> None:
    reading = Grounding().measure([Answer("", sql, CONCERTS)])[0]
    assert reading.value is None
    assert "parse" in reading.note
    assert isinstance(Grounding(), Signal)


def test_every_kind_that_is_found_has_a_weight() -> None:
    found = set().union(*(kinds(sql, contents=VALUES) for sql, _ in STUMBLES))
    assert found <= WEIGHTS.keys()
    assert {kind for _, kind in STUMBLES} | {
        "value elsewhere",
        "value of nowhere",
        "value left out",
    } == WEIGHTS.keys()


class Everywhere:
    """Contents in which every text stands in every way that could trip a reader."""

    def find(self, text: str) -> Mapping[tuple[str, str], object]:
        return {("", ""): text, ("Singer", "NAME"): None}


PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        "select distinct count ( ) * from singer s concert c stadium . name age singer_id theme , where = > <= <> 'x' \"x\" 30 -1"
        " and or not in exists group by having order limit join left on using union except between like is null max sum avg "
        "case when then else end as with over cast ; -- true",
    )
)
SQL = st.one_of(
    st.text(max_size=80),
    st.lists(PIECES, max_size=25).map(" ".join),
    st.lists(PIECES, max_size=12).map(lambda rest: " ".join(["SELECT name FROM singer WHERE", *rest])),
    st.sampled_from([sql for sql, _ in STUMBLES] + STANDS),
)


@settings(max_examples=150, deadline=None)
@given(SQL, st.text(max_size=40))
def test_any_text_gives_a_share_or_none(sql: str, question: str) -> None:
    for signal in (Grounding(), Grounding(lambda answer: Everywhere())):
        reading = signal.measure([Answer(question, sql, CONCERTS)])[0]
        assert reading.value is None or 0 < reading.value <= 1
        assert reading.value == 1 or reading.note
