"""How much of what training computes is padding: of the batcher's sequences, and of the experts' rows."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from corpus.mixture import training_texts
from model import Tokenizer, Transformer
from model.moe import MixtureOfExperts, Routes
from optim.batches import Batcher
from optim.dataset import NO_TARGET, PADDING
from optim.prepare import tokenise

from ..settings import Settings

BATCH_TOKENS, LONGEST, BATCHES = 8192, 768, 40


def padding(settings: Settings, model: Transformer) -> dict[str, Any]:
    """Shares of padding: in batches that `optim.dataset.Batcher` makes of the demo's training questions (and of Spider's where
    SURESQL_DATA is set), and in the rows of the experts' products, which are rounded up.
    """
    data: dict[str, Any] = {"demo": 3000}
    if settings.data is not None:
        data |= {"root": str(settings.data), "spider": 1}
    tokenizer = Tokenizer.load(settings.checkpoint)
    dataset = tokenise(
        list(training_texts(data, seed=0)),
        tokenizer,
        vocabulary=model.config.vocab_size,
        max_length=LONGEST,
        eos=tokenizer.eos_id,
        console=Console(quiet=True),
    ).build()
    batcher = Batcher(dataset, np.arange(len(dataset)), BATCH_TOKENS, seed=0)
    used = computed = 0
    for rows in batcher.epoch(0)[:BATCHES]:
        lengths = dataset.lengths[rows] - 1
        used += int(lengths.sum())
        computed += int(lengths.max()) * len(rows)
    return {
        "of_sequences": round(1 - used / computed, 4),
        "of_expert_rows": round(_expert_rows(model), 4),
        "data": sorted(data),
    }


@torch.no_grad()
def _expert_rows(model: Transformer) -> float:
    moe = next(module for module in model.modules() if isinstance(module, MixtureOfExperts))
    x_ND = torch.randn(BATCH_TOKENS, model.config.hidden_size)
    routes = Routes(moe.gate(x_ND)[1], model.config.n_routed_experts)
    wide = sum(part.stop - part.start for part in routes.wide)
    return 1 - int(routes.counts_E.sum()) / wide


def tree_batch(vocabulary: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, targets and branches like those of the shipped model's training: trunks of 150 to 250 tokens, branches of 30 to 60
    that each bear loss at their second half, in sequences of up to LONGEST.
    """
    chance = random.Random(0)
    rows: list[list[int]] = []
    bears: list[list[bool]] = []
    for _ in range(tokens // LONGEST):
        row = [0] * chance.randint(150, 250)
        learned = [False] * len(row)
        for branch in range(1, LONGEST):
            length = chance.randint(30, 60)
            if len(row) + length > LONGEST:
                break
            row += [branch] * length
            learned += [i >= length // 2 for i in range(length)]
        rows.append(row + [int(PADDING)] * (LONGEST - len(row)))
        bears.append(learned + [False] * (LONGEST - len(learned)))
    branch_BT, bears_BT = torch.tensor(rows), torch.tensor(bears)
    tokens_BT = torch.randint(3, vocabulary, branch_BT.shape).masked_fill(branch_BT == PADDING, 0)
    targets_BT = torch.randint(3, vocabulary, branch_BT.shape).masked_fill(~bears_BT, NO_TARGET)
    return tokens_BT, targets_BT, branch_BT
