"""What SQL may be made of before it reaches a database: the first wall's nodes and types (`allowed_names` is of both walls)."""

from __future__ import annotations

from sqlglot import exp

_COMMON: frozenset[type] = frozenset(
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

_OTHERS: frozenset[type] = frozenset(
    {
        exp.AnyValue, exp.ApproxDistinct, exp.ArgMax, exp.ArgMin, exp.ArrayAgg, exp.AtTimeZone, exp.Bracket,
        exp.ByteLength, exp.Cbrt, exp.Contains, exp.Corr, exp.Cube, exp.CurrentDatetime, exp.DateAdd,
        exp.DateDiff, exp.DateFromParts, exp.DateStrToDate, exp.DateSub, exp.DateTrunc, exp.Day, exp.DayOfMonth,
        exp.DayOfWeek, exp.DayOfYear, exp.Dayname, exp.EndsWith, exp.Extract, exp.Fetch, exp.First,
        exp.Grouping, exp.GroupingSets, exp.Hour, exp.ILike, exp.IgnoreNulls, exp.Initcap, exp.IntDiv,
        exp.Interval, exp.IntervalSpan, exp.Last, exp.LastDay, exp.Lateral, exp.Left, exp.LogicalAnd,
        exp.LogicalOr, exp.Median, exp.Minute, exp.Mode, exp.Month, exp.Monthname, exp.PercentileCont,
        exp.PercentileDisc, exp.Pow, exp.Qualify, exp.Quarter, exp.RespectNulls, exp.Reverse, exp.Right,
        exp.Rollup, exp.Second, exp.SplitPart, exp.StartsWith, exp.Stddev, exp.StddevPop, exp.StddevSamp,
        exp.StrToDate, exp.StrToTime, exp.StrToUnix, exp.TimeToUnix, exp.TimeUnit, exp.Timestamp,
        exp.TimestampDiff, exp.TimestampTrunc, exp.ToChar, exp.TryCast, exp.TsOrDsAdd, exp.TsOrDsToDate,
        exp.UnixToTime, exp.Variance, exp.VariancePop, exp.Week, exp.WeekOfYear, exp.WithinGroup, exp.Year,
    }
)  # fmt: skip
_NOT_THERE = frozenset({exp.Format, exp.HexString, exp.Glob, exp.Collate, exp.Lateral})
"""A short format makes a text of any length in PostgreSQL and DuckDB; the rest they write otherwise."""

NODES: dict[str, frozenset[type]] = {
    "sqlite": _COMMON,
    "postgres": (_COMMON | _OTHERS) - _NOT_THERE,
    "duckdb": (_COMMON | _OTHERS) - _NOT_THERE,
}
"""By dialect, kinds of nodes in sqlglot's tree; Anonymous functions, tables and IN are looked at one by one."""

_T = exp.DataType.Type
TYPES = frozenset(
    {*exp.DataType.TEXT_TYPES, *exp.DataType.INTEGER_TYPES, *exp.DataType.REAL_TYPES, _T.BOOLEAN, _T.DATE, _T.TIME, _T.TIMESTAMP,
     _T.TIMESTAMPTZ, _T.TIMESTAMPNTZ, _T.INTERVAL, _T.UUID, _T.UNKNOWN}
)  # fmt: skip
"""What may be cast to in PostgreSQL and DuckDB: no type of the catalogue's, no XML, none of the database's own."""
