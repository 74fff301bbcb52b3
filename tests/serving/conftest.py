"""Real databases for the tests of serving."""

import sqlite3
from pathlib import Path

import pytest
import torch

from corpus.references import SPECIAL_TOKENS
from model import ModelConfig, Tokenizer, Transformer, export
from serving.engines.embedded import EmbeddedEngine
from serving.settings import Settings


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database whose file name needs quoting in a URI."""
    path = tmp_path_factory.mktemp("databases") / "shop ?#%41.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE suppliers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, rating REAL);
        CREATE TABLE parts (id INTEGER PRIMARY KEY, supplier_id INTEGER REFERENCES suppliers(id),
            price REAL, data BLOB);
        CREATE VIEW german AS SELECT * FROM suppliers WHERE country = 'Germany';
        INSERT INTO suppliers VALUES (1, 'Acme', 'Germany', 4.5), (2, 'Bolt', 'France', 3.0),
            (3, 'Café', 'Germany', NULL);
        INSERT INTO parts VALUES (1, 1, 9.5, x'00ff'), (2, 1, 0.5, NULL), (3, 2, 9e999, NULL);
        """
    )
    connection.close()
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights: what it writes is nonsense, in the shape of answers."""
    torch.manual_seed(0)
    special = [token for token in SPECIAL_TOKENS if token not in ("<pad>", "<bos>", "<eos>")]
    texts = ["select count ( * ) from where group by order by limit and or not in like the of is name"] * 20
    tokenizer = Tokenizer.train(texts, 600, special)
    config = ModelConfig(
        vocab_size=608, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=32,
        qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=128,
        moe_intermediate_size=32, n_routed_experts=8, num_experts_per_tok=2, max_position_embeddings=2048,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "random-tiny"
    export(Transformer(config), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def engine(checkpoint: Path) -> EmbeddedEngine:
    return EmbeddedEngine(checkpoint, threads=1)


@pytest.fixture
def settings(checkpoint: Path, tmp_path: Path) -> Settings:
    return Settings(
        checkpoint=checkpoint, home=tmp_path / "home", candidates=2, max_tokens=12, sql_timeout_s=0.5
    )
