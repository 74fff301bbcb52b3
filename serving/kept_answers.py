"""Which judged answers of before may stand for those that would be made now: those of the same weights, code and settings.

Of a model that others serve nothing is taken up again: it may have got other weights under the same name.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from functools import cache
from pathlib import Path

from .calibration import is_ours, weights_digest
from .settings import Settings

DIGITS = 16
_ROOT = Path(__file__).resolve().parent.parent
_CODE = ("corpus", "model", "sqlconf", "serving")
_APART = ("model/weights/", "serving/bench/", "serving/cli/", "serving/gateway/")
_ASKED = "serving/bench/outputs.py"
"""Of what is apart and shapes no answer, what is kept beside answers all the same."""
_SETTINGS = (
    "candidates", "engine", "engine_arguments", "engine_dtype", "engine_format", "engine_grammar", "engine_model",
    "engine_urls", "grammar", "max_tokens", "run_candidates", "vllm_mla",
)  # fmt: skip
"""Those that shape what is answered and measured, where all signals are."""


def answers_key(settings: Settings) -> str:
    """The folder's name for answers under these settings: the weights, or the model where others serve it, and one digest of
    all else. Raises EvaluationError where the model is not known without asking, CheckpointError without weights.
    """
    name = f"served-{settings.engine_model}"
    files = [code_digest()]
    if is_ours(settings):
        name = weights_digest(settings.checkpoint)[:DIGITS]
        files += [_digest(path.read_bytes()) for path in _beside_weights(settings.checkpoint)]
    shaping = settings.model_dump(mode="json", include=set(_SETTINGS))
    return re.sub(r"[^\w.-]+", "-", name) + "-" + _digest(json.dumps([shaping, *files]).encode())


def can_be_kept(settings: Settings) -> bool:
    """Whether the weights that answer are known: this program has loaded them itself."""
    return not settings.engine_urls


@cache
def code_digest(root: Path = _ROOT) -> str:
    """Of the code that answers, comments and docstrings aside, and of the data files in it."""
    found = []
    for path in sorted(path for folder in _CODE for path in (root / folder).rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and "__pycache__" not in name and (name == _ASKED or not name.startswith(_APART)):
            content = path.read_bytes()
            found.append((name, _digest(_bare(content) if path.suffix == ".py" else content)))
    return _digest(json.dumps(found).encode())


def _bare(source: bytes) -> bytes:
    """What a module does: its syntax tree without texts that stand alone."""
    return ast.dump(_WithoutTexts().visit(ast.parse(source))).encode()


class _WithoutTexts(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def _beside_weights(checkpoint: Path) -> list[Path]:
    """What says how the weights and the tokens are to be read."""
    return sorted([*checkpoint.glob("config.json"), *checkpoint.glob("tokenizer*")])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
