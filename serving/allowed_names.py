"""Names that a statement may use, by dialect: functions, and tables that are the database's own.

Apart from `allowed`, which knows sqlglot's tree, so that the processes that run statements start without it.
"""

from __future__ import annotations

import re

DIALECTS = ("sqlite", "duckdb", "postgres")

# What SQLite calls its harmless functions. Left out on purpose: load_extension, readfile, writefile, edit,
# fts3_tokenizer, randomblob, zeroblob, sqlite_*, changes, last_insert_rowid, and all we have not heard of.
_OF_SQLITE = """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat concat_ws
    cos cosh count cume_dist current_date current_time current_timestamp date datetime degrees dense_rank
    exp first_value floor format glob group_concat hex ifnull iif if instr json json_array
    json_array_length json_each json_extract json_group_array json_group_object json_object json_quote
    json_tree json_type json_valid julianday lag last_value lead length like likelihood likely ln log log10
    log2 lower ltrim max min mod nth_value ntile nullif octet_length percent_rank pi pow power printf
    quote radians random rank replace round row_number rtrim sign sin sinh soundex sqrt strftime
    string_agg substr substring sum tan tanh time timediff total trim trunc typeof unicode unixepoch
    unlikely upper
"""
# Those of the others that sqlglot has no class for, or that `translation` writes. Left out: what reads files, servers, settings
# or catalogues, runs text, waits, locks, counts up, and what makes a long text of a short one (repeat, lpad, format).
_OF_BOTH = """
    abs acos age asin atan atan2 btrim cbrt ceil ceiling char_length character_length chr concat concat_ws corr cos cot date_part
    date_trunc degrees exp floor initcap left length ln log lower ltrim make_date mod now nullif octet_length pi power
    radians regr_slope regr_intercept regr_r2 replace reverse right round rtrim sign sin split_part sqrt starts_with
    stddev stddev_pop stddev_samp strpos substr tan to_timestamp trim trunc upper var_pop var_samp variance
"""
_OF_POSTGRES = "to_char to_date to_number width_bucket regexp_substr"
_OF_DUCKDB = """
    strftime strptime regexp_extract contains prefix suffix ends_with dayname monthname dayofweek dayofyear weekofyear
    quarter year month day hour minute second epoch last_day date_diff date_add date_sub datediff dateadd median mode
    quantile_cont quantile_disc approx_count_distinct any_value arg_max arg_min first last list_aggregate try_cast
"""
FUNCTIONS = {
    "sqlite": frozenset(_OF_SQLITE.split()),
    "postgres": frozenset(f"{_OF_BOTH} {_OF_POSTGRES}".split()),
    "duckdb": frozenset(f"{_OF_BOTH} {_OF_DUCKDB}".split()),
}
"""By dialect, in lower case."""
TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_CATALOGUE = frozenset({"sqlite_master", "sqlite_schema"})
_TABLES_OF_MODULES = frozenset(
    {"bytecode", "completion", "dbstat", "fsdir", "fts3tokenize", "generate_series", "tables_used"}
)


_OWN_PREFIXES = ("pg_", "duckdb_", "sqlite_", "pragma_", "information_schema")
_PLAIN_NAME = re.compile(r"[\w $#@&+-]{1,128}")


def readable_table(name: str, dialect: str = "sqlite") -> bool:
    """Whether a table of this name may be the database's own (or SQLite's catalogue that lists its tables)."""
    lowered = name.lower()
    if dialect != "sqlite":  # in DuckDB a name with a dot or a slash in it may be a file's
        return not lowered.startswith(_OWN_PREFIXES) and _PLAIN_NAME.fullmatch(name) is not None
    if lowered in _CATALOGUE:
        return True
    return not lowered.startswith(("pragma_", "sqlite_")) and lowered not in _TABLES_OF_MODULES
