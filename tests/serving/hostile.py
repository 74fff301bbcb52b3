"""Statements that must not do what they are for: serving.bench.hostile has them by database, here are the computed ones."""

from serving.bench.hostile import statements

_DOUBLING = ["c0 AS (SELECT 1 AS x)"] + [
    f"c{i} AS (SELECT a.x FROM c{i - 1} a, c{i - 1} b)" for i in range(1, 30)
]

COMPUTED = [
    "",
    " \n\t",
    "DELETE\u00a0FROM suppliers",
    "SELECT 1\x00; DELETE FROM suppliers",
    "SELECT '\ud800'",
    "SELECT 1 -- \n; DELETE FROM suppliers",
    "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "SELECT " + "NOT " * 2000 + "1",
    "SELECT " + "1 + " * 4000 + "1",
    "SELECT '" + "x" * 20_000 + "'",
    f"WITH {', '.join(_DOUBLING)} SELECT count(*) FROM c29",
]
"""Of no one database."""

_RUN_ON = (
    "instr",
    "replace(printf",
    "printf",
    "group_concat",
    "WITH RECURSIVE c",
    "count(*) FROM suppliers a",
    "LIKE '%a",
)
REFUSED = [
    sql for sql in statements("sqlite") if not any(word in sql for word in _RUN_ON) or "INSERT" in sql
] + COMPUTED
"""What the guard must refuse in SQLite's dialect; the rest of its file runs on, and is the limits' to stop."""

_ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"

BOMBS = [
    f"{_ENDLESS} SELECT count(*) FROM c",
    f"{_ENDLESS} SELECT x FROM c ORDER BY x DESC",
    f"{_ENDLESS} SELECT group_concat(printf('%1000d', x)) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x + 1 FROM c) SELECT max(x) FROM c",
    "WITH RECURSIVE c(x, y) AS (SELECT 1, 'a' UNION ALL SELECT x + 1, y || y FROM c) SELECT count(y) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000)"
    " SELECT count(*) FROM c a, c b, c d, c e",
    "WITH RECURSIVE c(x) AS (SELECT printf('%1000000d', 1) UNION ALL SELECT x || 'a' FROM c)"
    " SELECT x FROM c ORDER BY x",
]
"""What the guard passes and the limits must stop."""
