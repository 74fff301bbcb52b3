"""What SQL may be made of before it reaches a database: the allow-lists that both walls go by."""

from __future__ import annotations

from sqlglot import exp

# What SQLite calls its harmless functions. Left out on purpose: load_extension, readfile, writefile, edit,
# fts3_tokenizer, randomblob, zeroblob, sqlite_*, changes, last_insert_rowid, and all we have not heard of.
_FUNCTION_NAMES = """
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
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
"""SQLite's names, in lower case."""
TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_CATALOGUE = frozenset({"sqlite_master", "sqlite_schema"})
_TABLES_OF_MODULES = frozenset(
    {"bytecode", "completion", "dbstat", "fsdir", "fts3tokenize", "generate_series", "tables_used"}
)

NODES: frozenset[type] = frozenset(
    {
        # clauses
        exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From,
        exp.Join, exp.Table, exp.TableAlias, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered,
        exp.Limit, exp.Offset, exp.Distinct, exp.Values, exp.Tuple, exp.Window, exp.WindowSpec, exp.Filter,
        # names and values
        exp.Identifier, exp.Column, exp.Alias, exp.Star, exp.Literal, exp.Boolean, exp.Null, exp.HexString,
        exp.Var, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Paren,
        # operators
        exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.NullSafeEQ,
        exp.NullSafeNEQ, exp.In, exp.Between, exp.Exists, exp.Like, exp.Glob, exp.Escape,
        exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseNot,
        exp.BitwiseLeftShift, exp.BitwiseRightShift, exp.DPipe, exp.Case, exp.If, exp.Collate,
        # functions that sqlglot knows by a class of their own
        exp.TsOrDsToTimestamp, exp.JSONArrayAgg, exp.JSONObjectAgg, exp.JSONKeyValue,
        exp.Abs, exp.Acos, exp.Acosh, exp.Asin, exp.Asinh, exp.Atan, exp.Atan2, exp.Atanh, exp.Avg,
        exp.Ceil, exp.Chr, exp.Coalesce, exp.Concat, exp.ConcatWs, exp.Cos, exp.Cosh, exp.Count,
        exp.CumeDist, exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Date, exp.Degrees,
        exp.DenseRank, exp.Exp, exp.FirstValue, exp.Floor, exp.Format, exp.Greatest, exp.GroupConcat,
        exp.Hex, exp.JSONArray, exp.JSONExtract, exp.JSONExtractScalar, exp.JSONObject, exp.JSONPath,
        exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript, exp.JSONType, exp.Lag, exp.LastValue,
        exp.Lead, exp.Least, exp.Length, exp.Ln, exp.Log, exp.Lower, exp.Max, exp.Min, exp.NthValue,
        exp.Ntile, exp.Nullif, exp.PercentRank, exp.Pi, exp.Pow, exp.Radians, exp.Rand, exp.Rank,
        exp.Replace, exp.Round, exp.RowNumber, exp.Sign, exp.Sin, exp.Sinh, exp.Soundex, exp.Sqrt,
        exp.StrPosition, exp.Substring, exp.Sum, exp.Tan, exp.Tanh, exp.Time, exp.TimeToStr, exp.Trim,
        exp.Trunc, exp.Typeof, exp.Unicode, exp.Upper,
    }
)  # fmt: skip
"""Kinds of nodes in sqlglot's tree; Anonymous functions, tables and IN are looked at one by one."""


def readable_table(name: str) -> bool:
    """Whether a table of this name may be the database's own (or the catalogue that lists its tables)."""
    lowered = name.lower()
    if lowered in _CATALOGUE:
        return True
    return not lowered.startswith(("pragma_", "sqlite_")) and lowered not in _TABLES_OF_MODULES
