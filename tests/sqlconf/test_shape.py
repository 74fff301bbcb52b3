"""Does the SQL's shape fit the question: each rule on a pair that breaks it and on the pair that keeps it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlconf.ddl import schema_of
from sqlconf.finding import Finding, weigh
from sqlconf.shape import WEIGHTS, Shape, findings
from sqlconf.signal import Answer, Signal
from sqlconf.statement import LONGEST
from sqlconf.wording import alike, wording

CONCERTS = schema_of("""
    CREATE TABLE stadium (stadium_id INTEGER PRIMARY KEY, name TEXT, city TEXT, capacity INTEGER);
    CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, gender TEXT, age INTEGER,
                         netWorth REAL, birth_year INTEGER);
    CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, theme TEXT, held_date TEXT, ticket_price REAL,
                          stadium_id INTEGER REFERENCES stadium (stadium_id),
                          singer_id INTEGER REFERENCES singer (singer_id));
""")
JOINED = "FROM singer AS s JOIN concert AS c ON c.singer_id = s.singer_id"

FITS = [
    ("How many singers are there?", "SELECT count(*) FROM singer"),
    ("What is the average age of singers from France?", "SELECT avg(age) FROM singer WHERE country = 'France'"),
    ("List the names and ages of all singers.", "SELECT name, age FROM singer"),
    ("How many singers are older than 30?", "SELECT count(*) FROM singer WHERE age > 30"),
    ("Who is the oldest singer?", "SELECT name FROM singer ORDER BY age DESC LIMIT 1"),
    ("Who is the oldest singer?", "SELECT name FROM singer ORDER BY birth_year LIMIT 1"),
    ("Show the three largest stadiums.", "SELECT name FROM stadium ORDER BY capacity DESC LIMIT 3"),
    ("For each country, how many singers are there?", "SELECT country, count(*) FROM singer GROUP BY country"),
    ("Which countries have at least 3 singers?", "SELECT country FROM singer GROUP BY country HAVING count(*) >= 3"),
    ("Which countries have at least 3 singers?", "SELECT country FROM singer GROUP BY country HAVING count(*) > 2"),
    ("Names of singers without a concert", "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM concert)"),
    ("Names of singers who are not from France", "SELECT name FROM singer WHERE country <> 'France'"),
    ("What are the names of singers in alphabetical order?", "SELECT name FROM singer ORDER BY name"),
    ("Which stadiums hold between 1,000 and 2,000?", "SELECT name FROM stadium WHERE capacity BETWEEN 1000 AND 2000"),
    ("Show the different countries of singers", "SELECT DISTINCT country FROM singer"),
    ("Names of singers with a net worth above 5 million", "SELECT name FROM singer WHERE netWorth > 5000000"),
    ("Give the themes of concerts in March 2025", "SELECT theme FROM concert WHERE strftime('%Y-%m', held_date) = '2025-03'"),
    ("Which French singers are there?", "SELECT name FROM singer WHERE country = 'France'"),
    ("Names of female singers", "SELECT name FROM singer WHERE gender = 'F'"),
    ("What percentage of singers is from Chile?", "SELECT 100.0 * sum(country = 'Chile') / count(*) FROM singer"),
    ("Themes that contain the word 'Free'", "SELECT theme FROM concert WHERE theme LIKE '%Free%'"),
    ("What is the cheapest ticket price?", "SELECT min(ticket_price) FROM concert"),
    ("Could you find all sniger names from Chile?", "SELECT name FROM singer WHERE country = 'Chile'"),
    ("List all information about singers", "SELECT * FROM singer"),
]  # fmt: skip

BREAKS = [
    ("How many singers are there?", "SELECT name FROM singer", "count"),
    ("What is the average age of singers?", "SELECT age FROM singer", "average"),
    ("What is the total capacity of all stadiums?", "SELECT capacity FROM stadium", "sum"),
    ("What is the age of the tallest singer?", "SELECT age FROM singer", "extreme"),
    ("What is the age of singers?", "SELECT sum(age) FROM singer", "needless sum"),
    ("List the names of singers", "SELECT name FROM singer ORDER BY age LIMIT 1", "needless extreme"),
    ("Display the singers from Chile", "SELECT count(*) FROM singer WHERE country = 'Chile'", "needless count"),
    ("Show the three largest stadiums.", "SELECT name FROM stadium ORDER BY capacity DESC LIMIT 7", "number"),
    ("Show the three largest stadiums.", "SELECT name FROM stadium ORDER BY capacity DESC LIMIT 7", "number of nowhere"),
    ("Show the three largest stadiums.", "SELECT name FROM stadium ORDER BY capacity LIMIT 3", "direction"),
    ("Names of singers sorted by age", "SELECT name, age FROM singer", "order"),
    ("Names of singers in descending order of age", "SELECT name FROM singer ORDER BY age", "direction"),
    ("For each country, what is the number of singers?", "SELECT count(*) FROM singer", "group"),
    ("Which countries have more than 3 singers?", "SELECT country FROM singer WHERE age > 3", "bound"),
    ("How many singers are older than 30?", "SELECT count(*) FROM singer WHERE age < 30", "bound"),
    ("How many singers are older than 30?", "SELECT count(*) FROM singer WHERE age >= 30", "bound off by one"),
    ("How many singers are older than average?", "SELECT count(*) FROM singer WHERE age = 30", "more"),
    ("How many singers are aged 30 or less?", "SELECT count(*) FROM singer WHERE age = 30", "less"),
    ("Names of singers without a concert", f"SELECT s.name {JOINED}", "negation"),
    ("Show the different countries of singers", "SELECT country FROM singer", "distinct"),
    ("Singers from either Chile or Peru", "SELECT name FROM singer WHERE country = 'Chile'", "either"),
    ("What percentage of singers is from Chile?", "SELECT count(*) FROM singer WHERE country = 'Chile'", "share"),
    ("Themes that contain the word 'Free'", "SELECT theme FROM concert WHERE theme = 'Free'", "like"),
    ("Names of singers from France", "SELECT name FROM singer", "name"),
    ("Names of singers", "SELECT name FROM singer WHERE country = 'France'", "text of nowhere"),
    ("Themes of concerts held in March 2025", "SELECT theme FROM concert WHERE held_date LIKE '2025%'", "month"),
    ("Themes of concerts during 2025", "SELECT theme FROM concert WHERE concert_id = 2025", "bound"),
    ("Concerts held on 2025-02-03", "SELECT theme FROM concert WHERE held_date = '2025-01-03'", "number"),
    ("List the names and ages of all singers.", "SELECT name FROM singer", "too few columns"),
    ("List the names of all singers.", "SELECT name, gender FROM singer", "too many columns"),
    ("List the names of all singers.", "SELECT age FROM singer", "not given"),
    ("List the names of all singers.", "SELECT singer_id FROM singer", "not given"),
    ("List the ages of all singers.", "SELECT singer_id FROM singer", "word left out"),
    ("What is the ticket price of each concert?", "SELECT theme FROM concert", "column left out"),
    ("Names of female singers", "SELECT name FROM singer", "column left out"),
    ("Which stadiums had concerts?", "SELECT name FROM stadium", "table left out"),
    ("Which stadiums are in Lima?", "SELECT city FROM stadium WHERE city = 'Lima'", "thing not given"),
    ("Show the stadiums in Lima", "SELECT capacity FROM stadium WHERE city = 'Lima'", "unnamed result"),
    ("Singers over the age of 30", "SELECT name FROM singer WHERE netWorth > 30", "unnamed condition"),
]  # fmt: skip


def found(question: str, sql: str) -> list[Finding]:
    result = findings(Answer(question, sql, CONCERTS))
    assert result is not None
    return result


@pytest.mark.parametrize(("question", "sql"), FITS)
def test_nothing_is_found_where_the_sql_fits(question: str, sql: str) -> None:
    assert found(question, sql) == []


@pytest.mark.parametrize(("question", "sql", "kind"), BREAKS)
def test_what_does_not_fit_is_found(question: str, sql: str, kind: str) -> None:
    assert kind in {finding.kind for finding in found(question, sql)}


def test_the_value_falls_with_what_is_found_and_the_note_names_it() -> None:
    question = "How many singers from Chile are older than 30?"
    right, one, two = (
        Shape().measure([Answer(question, sql, CONCERTS)])[0]
        for sql in (
            "SELECT count(*) FROM singer WHERE country = 'Chile' AND age > 30",
            "SELECT count(*) FROM singer WHERE age > 30",
            "SELECT count(*) FROM singer WHERE age < 30",
        )
    )
    assert right.value == 1.0
    assert right.note == ""
    assert right.value > one.value > two.value > 0
    assert "Chile of the question is not in the SQL" in one.note
    assert "wants > 30" in two.note


def test_a_kind_is_weighed_once_and_the_gravest_is_told_first() -> None:
    several = [Finding("light", "b"), Finding("grave", "a"), Finding("light", "c"), Finding("light", "b")]
    assert weigh(several, {"light": 1, "grave": 2}) == (0.125, "a; b; c")
    assert weigh([], {}) == (1.0, "")


@pytest.mark.parametrize(
    ("question", "sql"),
    [
        ("", "SELECT 1"),
        (" \n", "SELECT 1"),
        ("How many?", ""),
        ("How many?", "SELECT FROM WHERE"),
        ("How many?", "SELECT 1; SELECT 2"),
        ("How many?", "DROP TABLE singer"),
        ("How many?", f"SELECT '{'x' * LONGEST}'"),
    ],
)
def test_what_cannot_be_judged_is_missing_with_a_reason(question: str, sql: str) -> None:
    reading = Shape().measure([Answer(question, sql, CONCERTS)])[0]
    assert reading.value is None
    assert reading.note


def test_every_answer_of_a_batch_gets_its_own_reading_under_the_signals_name() -> None:
    answers = [Answer(question, sql, CONCERTS) for question, sql in FITS[:3]] + [Answer("?", "", CONCERTS)]
    readings = Shape().measure(answers)
    assert isinstance(Shape(), Signal)
    assert [reading.value for reading in readings] == [1.0, 1.0, 1.0, None]
    assert {reading.name for reading in readings} == {"shape"}


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("What are the names and ages of singers?", [("names",), ("ages",)]),
        ("Show the first name, last name, and id for the top three players", [("first", "name"), ("last", "name"), ("id",)]),
        ("Which city has the lowest GDP? Please list the city name and its GDP.", [("city", "name"), ("gdp",)]),
        ("How many singers are there?", []),
        ("Would you show me all suppliers in France?", [("suppliers",)]),
        ("I am after the overall stock for each warehouse", [("overall", "stock")]),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_read_from_the_wording(question: str, asked: list[tuple[str, ...]]) -> None:
    assert wording(question).asked == asked


def test_numbers_and_names_are_read_from_the_wording() -> None:
    words = wording(
        'Show 1,500 of the twenty parts "Bolt 7" that Carbon Works X68 sold for 2.5 million in May'
    )
    assert [number.value for number in words.numbers] == [1500, 20, 2_500_000]
    assert words.quoted == ["Bolt 7"]
    assert words.names == ["Carbon Works X68", "May"]
    assert words.months == [5]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [("singers", "singer", True), ("french", "france", True), ("suppilers", "suppliers", True), ("stauts", "status", True),
     ("age", "ape", False), ("city", "country", False), ("chile", "china", False)],
)  # fmt: skip
def test_words_are_alike_by_stem_by_beginning_or_but_for_a_slip(a: str, b: str, same: bool) -> None:
    assert alike(a, b) is same
    assert alike(b, a) is same


PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        "select SELECT count ( ) * from FROM singer s name age , where = > < 'x' \"x\" 30 and or not in exists group by having "
        "order limit 1 join on union between like is null max sum avg distinct case when then else end as . ; -- over "
        "How many singers older than at least 3 each most oldest without both between 2025-01 March \" ' % ?",
    )
)
TEXT = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=25).map(" ".join))
SQL = st.one_of(TEXT, st.sampled_from([sql for _, sql in FITS] + [sql for _, sql, _ in BREAKS]))


@settings(max_examples=150, deadline=None)
@given(TEXT, SQL)
def test_any_text_gives_a_share_or_none(question: str, sql: str) -> None:
    reading = Shape().measure([Answer(question, sql, CONCERTS)])[0]
    assert reading.value is None or 0 < reading.value <= 1
    assert reading.value == 1 or reading.note


def test_every_kind_that_is_found_has_a_weight() -> None:
    kinds = {finding.kind for question, sql, _ in BREAKS for finding in found(question, sql)}
    assert kinds <= WEIGHTS.keys()
    assert all(weight > 0 for weight in WEIGHTS.values())
