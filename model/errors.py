"""The one error that this package raises on purpose."""


class ModelError(Exception):
    """A model, a tokenizer or a checkpoint folder is not what it must be; the message says what to do."""
