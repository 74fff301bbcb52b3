"""The one root of what this package raises on purpose."""


class ConfidenceError(Exception):
    """A confidence cannot be measured, fitted, saved or loaded; the message says why and what to do."""
