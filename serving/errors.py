"""The errors of `serving`: one root, each with the HTTP status and the exit code that fit it."""

from __future__ import annotations


class ServingError(Exception):
    """Root of this package's errors: what was found, and in `hint` what to do about it."""

    status = 500
    type = "internal"
    retry_after_s = 0
    """When to come back, where that can be said."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class GuardError(ServingError):
    """The first wall: the statement is not one reading SELECT of known parts."""

    status = 400
    type = "sql_refused"


class BadSql(ServingError):
    """The database itself refused the statement: no such column, not authorised, too big."""

    status = 400
    type = "sql_failed"


class QueryTimeout(BadSql):
    """The statement ran past its time limit and was stopped."""

    status = 422
    type = "sql_timeout"


class BadTools(ServingError):
    """The tools that a client offers cannot be called by this model, or are no tools."""

    status = 400
    type = "bad_tools"


class DatabaseUnavailable(ServingError):
    """A known database cannot be read: gone, not a database, locked."""

    status = 409
    type = "database_unavailable"


class DatabaseAway(DatabaseUnavailable):
    """A database's server does not answer now; it may in a moment."""

    status = 503
    type = "database_away"
    retry_after_s = 2


class UnknownDatabase(ServingError):
    """No database of that name is registered."""

    status = 404
    type = "unknown_database"


class UnknownAnswer(ServingError):
    """A label came for an answer that is not remembered."""

    status = 404
    type = "unknown_answer"


class FeedbackUnavailable(ServingError):
    """A label cannot be kept: the calibration is not there yet, or the disk is full or closed."""

    status = 503
    type = "feedback_unavailable"


class BadDatabase(ServingError):
    """A database's name or address cannot be registered."""

    status = 422
    type = "bad_database"


class StateError(ServingError):
    """The state folder cannot be read or written."""

    type = "state"


class InvalidRequest(ServingError):
    """The request's body is not what the route takes."""

    status = 422
    type = "invalid_request"


class NoSuchModel(InvalidRequest):
    """The request names a model that is not served."""

    status = 404
    type = "model_not_found"


class MalformedBody(InvalidRequest):
    """The request's body is not JSON at all."""

    status = 400
    type = "malformed_json"


class TooLarge(InvalidRequest):
    """The question or the body is longer than is taken."""

    status = 413
    type = "too_large"


class Overloaded(ServingError):
    """The queue is full, or the service is not ready; `retry_after_s` says when to come back."""

    status = 503
    type = "overloaded"

    def __init__(self, message: str, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeadlinePassed(ServingError):
    """The request took longer than a request may, its wait included."""

    status = 504
    type = "deadline_passed"
    retry_after_s = 5


class LimitReached(Overloaded):
    """A key's rate, its tokens or its share of the queue are used up; others may still be served."""

    status = 429
    type = "limit_reached"


class Unauthorized(ServingError):
    """No key, or none that is good."""

    status = 401
    type = "unauthorized"


class Forbidden(ServingError):
    """The key is good, but not for this."""

    status = 403
    type = "forbidden"


class EngineError(ServingError):
    """The language model failed on a request."""

    type = "engine_failed"


class EngineFailed(EngineError):
    """An engine elsewhere failed on a request, and so did those that were tried beside it, if there were others and time."""

    status = 502
    retry_after_s = 5


class EngineUnavailable(Overloaded):
    """No engine answers now; another try may find one."""

    type = "engine_unavailable"


class Gone(ServingError):
    """Who asked has gone; nobody reads this."""

    status = 499
    type = "client_gone"


class EngineSetupError(ServingError):
    """An engine's environment or process cannot be made or started."""

    type = "engine_setup"


class PromptTooLong(ServingError):
    """The question and its schema do not fit the model's context."""

    status = 413
    type = "prompt_too_long"


class CheckpointError(ServingError):
    """The checkpoint cannot be loaded: a file is missing or does not fit."""

    type = "checkpoint"


class EvaluationError(ServingError):
    """An evaluation or a calibration cannot be run on what was given."""

    status = 422
    type = "evaluation"


class SettingsError(ServingError):
    """A setting, from the environment or an option, is out of range."""

    type = "settings"
