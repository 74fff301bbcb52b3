"""A run's data: made from the corpus by rank 0 unless the run's folder has them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

import model as model_room
from model.tokenizer import BOS, EOS, PAD
from optim.config import RunConfig
from optim.dataset import TokenDataset
from optim.errors import ConfigError, DataError
from optim.parallel import barrier, rank
from optim.prepare import collect, digest, sample_texts, show_counts, tokenise

VECTORS = 300_000
"""Words and names whose vectors are kept while the data is made: all of them."""


def prepare(
    config: RunConfig, shape: Any, console: Console, resuming: bool = False
) -> tuple[Any, TokenDataset]:
    """The tokenizer and the tokenised data, made by rank 0 unless the run folder has them.

    The tokenizer is learned from the data, or that of `model.start`. What is in the folder was made from the
    same configuration, questions and code of `corpus`, and with the same tokenizer: its name says so.
    """
    from corpus.mixture import fingerprint

    made_of = {
        "data": config.as_dict()["data"],
        "corpus": fingerprint(dict(config.data)),
        "vocabulary": shape.vocab_size,
        "start": _tokenizer_digest(config.model.start),
        **config.train.model_dump(include={"seed", "max_length", "tokenizer_sample"}),
    }
    folder = config.output.run / f"data-{digest(made_of)}"
    if rank() == 0 and not folder.is_dir():
        if resuming:
            console.print(
                f"warning: {folder} is not there: it was removed, or the corpus or its files are no longer what "
                "the run began with. It is made now; if they changed, the run goes on with other data"
            )
        _make(config, shape, folder, console)
    barrier()
    if not folder.is_dir():
        raise DataError(f"rank 0 has not made {folder}; see its message")
    dataset = TokenDataset.read(folder)
    made = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    console.print(
        f"{len(dataset):,} sequences, {len(dataset.tokens):,} tokens, made {made}, in {folder}; "
        "remove that folder to make them anew"
    )
    return model_room.Tokenizer.load(folder), dataset


def _tokenizer_digest(start: Path | None) -> str | None:
    if start is None:
        return None
    try:
        return hashlib.sha256((start / "tokenizer.json").read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"model.start = {start} has no tokenizer that can be read: {error}; "
            "give a folder that a training run exported"
        ) from error


def _make(config: RunConfig, shape: Any, folder: Path, console: Console) -> None:
    from corpus.mixture import CHAT_TEMPLATE, REFERENCES, SPECIAL_TOKENS, training_texts
    from corpus.nearness import Nearness
    from sqlconf.embedding import Embedder

    near = Nearness(Embedder().embed, remembered=VECTORS)
    pairs = collect(training_texts(dict(config.data), config.train.seed, near), console)
    if config.model.start:
        tokenizer = model_room.Tokenizer.load(config.model.start)
    else:
        console.print(f"training a tokenizer of {shape.vocab_size:,} tokens")
        sample = sample_texts(pairs, config.train.tokenizer_sample, config.train.seed)
        special = [token for token in SPECIAL_TOKENS if token not in (PAD, BOS, EOS)]  # the tokenizer's own
        tokenizer = model_room.Tokenizer.train(sample, shape.vocab_size, special, CHAT_TEMPLATE)
    builder = tokenise(
        pairs,
        tokenizer,
        vocabulary=shape.vocab_size,
        max_length=config.train.max_length,
        eos=shape.eos_token_id,
        console=console,
        learned_in_linked=frozenset(tokenizer.token_id(reference) for reference in REFERENCES),
    )
    show_counts(builder, config.train.max_length, console)
    builder.build().write(folder, with_files=tokenizer.save)
