"""Errors of the data room: what was found, what was expected, what to do."""


class CorpusError(ValueError):
    """Root of what `corpus` raises."""


class BrokenLine(CorpusError):
    """A line of a JSON-lines file that cannot be used; names the file and the line."""


class NotADatabase(CorpusError):
    """A path that should be a SQLite database and is not."""


class FoldError(CorpusError):
    """SQL that the reference format does not cover."""


class UnfoldError(CorpusError):
    """Text over references that stands for no SQL."""
