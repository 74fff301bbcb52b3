"""A mixture-of-experts transformer in Kimi K2's architecture (arXiv 2507.20534), which is DeepSeek-V3's.

The legend of shape suffixes in this package:
    B batch    T tokens of a sequence    D hidden_size    H heads    V vocabulary
    E routed experts    S positions with a target    (attention.py and moe.py add their own)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.attention import LatentAttention
from model.config import ModelConfig
from model.errors import ModelError
from model.head import linear_cross_entropy
from model.moe import Experts, MixtureOfExperts, Router, sequence_balance
from model.rmsnorm import RMSNorm
from model.rotary import rotary_table
from model.swiglu import SwiGLU
from model.tree_attention import Tree, trees

NO_TARGET = -100


class Layer(nn.Module):
    """Attention, then a dense layer or a mixture of experts, each on a normed copy of the stream."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = LatentAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        dense = index < config.first_k_dense_replace
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size) if dense else MixtureOfExperts(config)

    def forward(
        self,
        x_BTD: Tensor,
        rotary_TR: Tensor,
        valid_BT: Tensor | None,
        sees: Tensor | list[Tree] | None,
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), rotary_TR, valid_BT, sees)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Transformer(nn.Module):
    """The language model; parameters bear Hugging Face's names without the `model.` prefix, experts stacked.

    Sequences are padded on the right, so that the causal order alone keeps padding out of what precedes it.
    balance_loss: weight (alpha) of the sequence-wise balance loss that `loss` adds for each layer with experts; DeepSeek-V3
    takes 1e-4, Kimi K2 none.
    The arithmetic is the parameters' dtype; wrap calls in `torch.autocast` for another (model.speed says
    which of the two is faster on a machine).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        self.balance_loss = 0.0
        self._rotary_TR = torch.empty(0, 0)
        if self.embed_tokens.weight.device.type != "meta":
            self.initialise_()

    @torch.no_grad()
    def initialise_(self) -> None:
        """Normal weights of deviation initializer_range; what writes to the stream gets less."""
        # GPT-2's rule: 2 * layers additions leave the stream's variance as it was.
        deviation = self.config.initializer_range
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding | Router):
                module.weight.normal_(0.0, deviation)
            elif isinstance(module, Experts):
                for matrix in module.parameters():
                    matrix.normal_(0.0, deviation)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "down_proj")):
                parameter.mul_((2 * self.config.num_hidden_layers) ** -0.5)

    def forward(self, tokens_BT: Tensor, branch_BT: Tensor | None = None) -> Tensor:
        """Normed hidden states, [B, T, D]; `logits` makes of them what the next token may be.

        branch_BT makes of a sequence a trunk (0) with branches: each branch goes on from the trunk, a negative
        one from nothing, and no branch sees another. The hidden states are those of trunk and branch alone.
        """
        length = tokens_BT.shape[1]
        if length > self.config.max_position_embeddings:
            raise ModelError(
                f"a sequence of {length} tokens exceeds max_position_embeddings "
                f"({self.config.max_position_embeddings}); shorten it"
            )
        rotary_TR = self._rotary(length, tokens_BT.device)
        sees: Tensor | list[Tree] | None = None
        if branch_BT is not None:
            rotary_TR = rotary_TR[branch_positions(branch_BT)]
            on_cpu = branch_BT.device.type == "cpu"
            sees = trees(branch_BT) if on_cpu else branch_bias(branch_BT, self.norm.weight.dtype)
        pad = self.config.pad_token_id
        valid_BT = None if pad is None else tokens_BT != pad
        x_BTD = self.embed_tokens(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, rotary_TR, valid_BT, sees)
        return self.norm(x_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """[..., D] to [..., V]."""
        return self.lm_head(hidden_BTD)

    def loss(
        self, tokens_BT: Tensor, targets_BT: Tensor, branch_BT: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """Mean cross-entropy over the positions whose target is not -100, and how many they are.

        targets_BT[b, t] is the token that follows tokens_BT[b, t]; branch_BT as in `forward`. The head runs at
        those positions alone.
        """
        routers = [module for module in self.modules() if isinstance(module, Router)]
        for router in routers:
            router.watched, router.seen = self.balance_loss > 0, None
        hidden_BTD = self(tokens_BT, branch_BT)
        position_S = (targets_BT.flatten() != NO_TARGET).nonzero().squeeze(1)
        if not len(position_S):
            raise ModelError(
                "the batch has no target: every entry of targets_BT is -100; leave the batch out"
            )
        hidden_SD = hidden_BTD.flatten(0, 1).index_select(0, position_S)
        targets_S = targets_BT.flatten().index_select(0, position_S)
        loss = linear_cross_entropy(hidden_SD, self.lm_head.weight, targets_S)
        pad = self.config.pad_token_id
        valid_BT = torch.ones_like(tokens_BT, dtype=torch.bool) if pad is None else tokens_BT != pad
        for router in routers:
            if router.seen is not None:
                loss = loss + self.balance_loss * sequence_balance(*router.seen, valid_BT)
                router.watched, router.seen = False, None
        return loss, len(position_S)

    def _rotary(self, length: int, device: torch.device) -> Tensor:
        if len(self._rotary_TR) < length or self._rotary_TR.device != device:
            grown = min(max(256, 1 << (length - 1).bit_length()), self.config.max_position_embeddings)
            self._rotary_TR = rotary_table(self.config, grown).to(device)
        return self._rotary_TR[:length]


def branch_positions(branch_BT: Tensor) -> Tensor:
    """Positions in [B, T] of trunk (0) and branches: a positive branch counts on from the trunk's end, a negative
    one from 0. The trunk comes first, and a branch is one run of tokens.
    """
    index_T = torch.arange(branch_BT.shape[1], device=branch_BT.device)
    begins_BT = torch.ones_like(branch_BT, dtype=torch.bool)
    begins_BT[:, 1:] = branch_BT[:, 1:] != branch_BT[:, :-1]
    start_BT = (index_T * begins_BT).cummax(1).values
    trunk_B1 = (branch_BT == 0).sum(1, keepdim=True)
    return index_T - start_BT + trunk_B1 * (branch_BT > 0)


def branch_bias(branch_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 1, T, T], 0 where a query (third axis) sees a key: an earlier one of its own branch, or of the trunk if
    the branch is positive; -inf elsewhere.
    """
    length = branch_BT.shape[1]
    query_BT1, key_B1T = branch_BT[:, :, None], branch_BT[:, None, :]
    sees_BTT = (query_BT1 == key_B1T) | ((query_BT1 > 0) & (key_B1T == 0))
    sees_BTT &= torch.ones(length, length, dtype=torch.bool, device=branch_BT.device).tril()
    bias_BTT = torch.zeros(sees_BTT.shape, dtype=dtype, device=branch_BT.device)
    return bias_BTT.masked_fill_(~sees_BTT, -torch.inf)[:, None]
