"""Levels of hardness are Spider's own: its paper's examples, its published counts, its thresholds."""

import json
import os
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from corpus.hardness import Counts, Hardness, counts, hardness

PAPER = [  # the four examples of the paper that introduced Spider; it calls the third hard, its script extra, for four parts
    ("easy", "SELECT COUNT(*) FROM cars_data WHERE cylinders > 4"),
    ("medium", "SELECT T2.name, COUNT(*) FROM concert AS T1 JOIN stadium AS T2 ON T1.stadium_id = T2.stadium_id "
     "GROUP BY T1.stadium_id"),
    ("extra", "SELECT T1.country_name FROM countries AS T1 JOIN continents AS T2 ON T1.continent = T2.cont_id JOIN car_makers "
     "AS T3 ON T1.country_id = T3.country WHERE T2.continent = 'Europe' GROUP BY T1.country_name HAVING COUNT(*) >= 3"),
    ("extra", "SELECT AVG(life_expectancy) FROM country WHERE name NOT IN (SELECT T1.name FROM country AS T1 JOIN "
     "country_language AS T2 ON T1.code = T2.country_code WHERE T2.language = 'English' AND T2.is_official = 'T')"),
]  # fmt: skip
OTHERS = [
    ("easy", "SELECT name FROM singer"),
    ("easy", "SELECT DISTINCT country FROM singer WHERE age > 20"),
    ("easy", "SELECT name FROM singer ORDER BY age"),
    ("medium", "SELECT name, country FROM singer"),
    ("medium", "SELECT max(age), min(age) FROM singer"),
    ("medium", "SELECT name FROM singer WHERE age > 20 AND country = 'France'"),
    ("medium", "SELECT name FROM singer ORDER BY age DESC LIMIT 1"),
    ("medium", "SELECT country, count(*) FROM singer GROUP BY country"),
    ("hard", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)"),
    ("hard", "SELECT country FROM singer WHERE age > 40 INTERSECT SELECT country FROM singer WHERE age < 30"),
    ("hard", "SELECT country FROM singer GROUP BY country ORDER BY count(*) DESC LIMIT 1"),
    ("extra", "SELECT name, age FROM singer WHERE age > (SELECT avg(age) FROM singer)"),
    ("extra", "SELECT T1.name FROM singer AS T1 JOIN fee AS T2 ON T1.id = T2.id JOIN concert AS T3 ON T2.concert = T3.id "
     "WHERE T3.year = 2014 ORDER BY T1.age LIMIT 3"),
    ("extra", "SELECT a FROM t WHERE b IN (SELECT c FROM u) UNION SELECT a FROM t"),
]  # fmt: skip


def read(sql: str) -> exp.Query:
    tree = sqlglot.parse_one(sql, dialect="sqlite")
    assert isinstance(tree, exp.Query)
    return tree


@pytest.mark.parametrize(("level", "sql"), PAPER + OTHERS)
def test_a_query_has_the_level_that_spider_gives_it(level: str, sql: str) -> None:
    assert hardness(read(sql)) == level


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM t", (0, 0, 0)),
        ("(SELECT a FROM t)", (0, 0, 0)),
        ("SELECT a FROM t WHERE b = 1 OR c LIKE 'x%' OR d = 2", (4, 0, 1)),
        ("SELECT a FROM t JOIN u ON t.x = u.x OR t.y = u.y JOIN v ON u.z = v.z", (3, 0, 0)),
        ("SELECT a FROM t GROUP BY a, b HAVING count(*) > 1 ORDER BY a LIMIT 2", (3, 0, 1)),
        ("SELECT count(a + b) FROM t ORDER BY sum(c)", (1, 0, 1)),
        ("SELECT a FROM t WHERE (b BETWEEN 1 AND 2)", (1, 0, 0)),
        # of a set operation the first member alone, and what sorts the whole is not of it
        ("SELECT a FROM t UNION SELECT b FROM u WHERE c LIKE 'x' ORDER BY 1 LIMIT 3", (0, 1, 0)),
        ("SELECT a FROM t UNION SELECT a FROM u UNION SELECT a FROM v", (0, 1, 0)),
        ("(SELECT a FROM t UNION SELECT b FROM u)", (0, 1, 0)),
        # of queries inside conditions how many, not what is in them
        ("SELECT a FROM t WHERE b > (SELECT max(b) FROM u WHERE c IN (SELECT d FROM v))", (1, 1, 0)),
        ("SELECT a FROM t WHERE b = (SELECT 1 UNION SELECT 2) AND EXISTS (SELECT 1)", (1, 2, 1)),
        ("SELECT a FROM (SELECT b FROM t WHERE c = 1) AS d", (0, 0, 0)),
        # the oddities: NOT, and AND in HAVING, count as aggregates; an aggregate of HAVING does not
        ("SELECT count(*) FROM t WHERE a NOT LIKE 'x'", (2, 0, 1)),
        ("SELECT count(*) FROM t WHERE NOT a IN (1, 2)", (1, 0, 1)),
        ("SELECT count(*) FROM t WHERE a IS NOT NULL AND b <> 1", (1, 0, 1)),
        ("SELECT count(*) FROM t WHERE a IS NOT NULL", (1, 0, 0)),
        ("SELECT count(*) FROM t GROUP BY a HAVING sum(b) > 1", (1, 0, 0)),
        ("SELECT count(*) FROM t GROUP BY a HAVING sum(b) > 1 AND sum(c) > 1", (1, 0, 1)),
    ],
)
def test_what_is_counted(sql: str, expected: tuple[int, int, int]) -> None:
    found = counts(read(sql))
    assert (found.parts, found.nested, found.others) == expected


def test_the_thresholds_are_spiders() -> None:
    for parts, nested, others in product(range(7), range(4), range(5)):
        if nested == 0 and parts <= 1 and others == 0:
            expected = "easy"
        elif nested == 0 and ((others <= 2 and parts <= 1) or (parts <= 2 and others < 2)):
            expected = "medium"
        elif (
            (others > 2 and parts <= 2 and nested == 0)
            or (2 < parts <= 3 and others <= 2 and nested == 0)
            or (parts <= 1 and others == 0 and nested <= 1)
        ):
            expected = "hard"
        else:
            expected = "extra"
        assert Counts(parts, nested, others).level == expected


@pytest.mark.parametrize(("level", "sql"), PAPER + OTHERS)
def test_a_level_depends_on_no_spelling_and_a_set_operation_makes_none_easier(level: str, sql: str) -> None:
    assert hardness(read(read(sql).sql(dialect="sqlite", pretty=True, identify=True))) == level
    order = list(Hardness)
    assert order.index(hardness(read(f"{sql} EXCEPT SELECT 1"))) >= order.index(Hardness(level))


def test_spiders_development_set_has_the_published_counts() -> None:
    file = Path(os.environ.get("SURESQL_DATA", "")) / "spider" / "dev.jsonl"
    if not file.is_file():
        pytest.skip("SURESQL_DATA names no folder with Spider's questions")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = Counter(hardness(read(line["sql"])) for line in lines)
    assert found == {"easy": 248, "medium": 446, "hard": 174, "extra": 166}
