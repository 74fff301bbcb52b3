"""The shape of a DeepSeek-V3 style mixture of experts, under Hugging Face's field names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from model.errors import ModelError


class ParameterCount(NamedTuple):
    """Parameters in all, and those that one token meets (embedding and head included in both)."""

    total: int
    active: int
    active_non_embedding: int


@dataclass(frozen=True)
class Yarn:
    """YaRN context extension (arXiv 2309.00071), with DeepSeek's two mscales."""

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 1.0

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ModelError(f"rope_scaling.factor is {self.factor}; YaRN extends a context: give 1 or more")
        if min(self.mscale, self.mscale_all_dim, self.beta_fast, self.beta_slow) <= 0:
            raise ModelError(
                "rope_scaling's mscale, mscale_all_dim, beta_fast and beta_slow must be positive"
            )


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a `Transformer`; every field means what it means in transformers' DeepseekV3Config."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    n_shared_experts: int = 1
    first_k_dense_replace: int = 1
    q_lora_rank: int | None = None
    n_group: int = 1
    topk_group: int = 1
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    rope_theta: float = 10_000.0
    rope_scaling: Yarn | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise ModelError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.q_lora_rank is not None and self.q_lora_rank < 1:
            raise ModelError(f"q_lora_rank is {self.q_lora_rank}; give 1 or more, or None for a direct W_q")
        if not 0 <= self.first_k_dense_replace <= self.num_hidden_layers:
            raise ModelError(
                f"first_k_dense_replace is {self.first_k_dense_replace}; "
                f"it must lie in 0..num_hidden_layers ({self.num_hidden_layers})"
            )
        if self.qk_rope_head_dim % 2:
            raise ModelError(f"qk_rope_head_dim is {self.qk_rope_head_dim}; rotary pairs need an even number")
        self._check_routing()
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            token = getattr(self, name)
            if token is not None and not 0 <= token < self.vocab_size:
                raise ModelError(f"{name} is {token}; it must lie in 0..vocab_size-1 ({self.vocab_size - 1})")

    def _check_routing(self) -> None:
        if self.n_routed_experts % self.n_group:
            raise ModelError(
                f"{self.n_routed_experts} experts do not divide into n_group={self.n_group} groups"
            )
        if not self.topk_group <= self.n_group:
            raise ModelError(f"topk_group is {self.topk_group}; there are only n_group={self.n_group} groups")
        group_size = self.n_routed_experts // self.n_group
        if self.n_group > 1 and group_size < 2:
            raise ModelError("a group's score is the sum of its two best experts: give groups of 2 or more")
        if self.num_experts_per_tok > self.topk_group * group_size:
            raise ModelError(
                f"num_experts_per_tok is {self.num_experts_per_tok}, but topk_group={self.topk_group} "
                f"groups hold only {self.topk_group * group_size} experts"
            )

    @property
    def qk_head_dim(self) -> int:
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def parameter_count(self) -> ParameterCount:
        """Count parameters from the shape alone; equals the module's own count (router biases excluded)."""
        d, heads = self.hidden_size, self.num_attention_heads
        if self.q_lora_rank is None:
            query = d * heads * self.qk_head_dim
        else:
            query = self.q_lora_rank * (d + heads * self.qk_head_dim + 1)
        latent = d * (self.kv_lora_rank + self.qk_rope_head_dim) + self.kv_lora_rank
        expand = self.kv_lora_rank * heads * (self.qk_nope_head_dim + self.v_head_dim)
        attention = query + latent + expand + heads * self.v_head_dim * d
        layer = attention + 2 * d
        expert = 3 * d * self.moe_intermediate_size
        dense_layers = self.first_k_dense_replace
        moe_layers = self.num_hidden_layers - dense_layers
        always = self.num_hidden_layers * layer + dense_layers * 3 * d * self.intermediate_size + d
        always += moe_layers * (expert * self.n_shared_experts + d * self.n_routed_experts)
        embedding = self.vocab_size * d * (1 if self.tie_word_embeddings else 2)
        active = always + moe_layers * expert * self.num_experts_per_tok
        total = always + moe_layers * expert * self.n_routed_experts + embedding
        return ParameterCount(total, active + embedding, active)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON's own types; `from_json` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> ModelConfig:
        """Read `to_json`'s fields back; an unknown or missing field raises ModelError naming it."""
        known = {f.name for f in dataclasses.fields(cls)}
        required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
        if unknown := set(fields) - known:
            raise ModelError(f"a model config has no field {sorted(unknown)}; it has {sorted(known)}")
        if missing := required - set(fields):
            raise ModelError(f"the model config lacks {sorted(missing)}; add them")
        scaling = fields.get("rope_scaling")
        return cls(**{**fields, "rope_scaling": Yarn(**scaling) if isinstance(scaling, dict) else scaling})


_POSITIVE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "kv_lora_rank",
    "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "intermediate_size", "moe_intermediate_size",
    "n_routed_experts", "num_experts_per_tok", "n_shared_experts", "n_group", "topk_group",
    "max_position_embeddings",
)  # fmt: skip


# vLLM's CPU attention takes nope + rope in {32, 64, 80, 96, 112, 128, 160, 192, ...} and hidden sizes of 32k.
PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=32,
        qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=128,
        moe_intermediate_size=32, n_routed_experts=8, num_experts_per_tok=2, max_position_embeddings=512,
    ),
    "nano": ModelConfig(
        vocab_size=4096, hidden_size=256, num_hidden_layers=6, num_attention_heads=4, kv_lora_rank=128,
        qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=64, intermediate_size=1024,
        moe_intermediate_size=128, n_routed_experts=16, num_experts_per_tok=2, max_position_embeddings=2048,
    ),
    "small": ModelConfig(
        vocab_size=8192, hidden_size=512, num_hidden_layers=12, num_attention_heads=8, kv_lora_rank=256,
        qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, intermediate_size=2048,
        moe_intermediate_size=256, n_routed_experts=32, num_experts_per_tok=4, max_position_embeddings=4096,
    ),
    "base": ModelConfig(
        vocab_size=32_768, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, q_lora_rank=768,
        kv_lora_rank=512, qk_nope_head_dim=64, qk_rope_head_dim=64, v_head_dim=64, intermediate_size=4096,
        moe_intermediate_size=512, n_routed_experts=64, num_experts_per_tok=6, routed_scaling_factor=2.0,
        max_position_embeddings=8192,
    ),
    "k2": ModelConfig(  # moonshotai/Kimi-K2-Base
        vocab_size=163_840, hidden_size=7168, num_hidden_layers=61, num_attention_heads=64, q_lora_rank=1536,
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, intermediate_size=18_432,
        moe_intermediate_size=2048, n_routed_experts=384, num_experts_per_tok=8, routed_scaling_factor=2.827,
        rope_theta=50_000.0, max_position_embeddings=131_072,
        rope_scaling=Yarn(factor=32.0, original_max_position_embeddings=4096, beta_fast=1.0, beta_slow=1.0),
        pad_token_id=163_839, bos_token_id=163_584, eos_token_id=163_585,
    ),
}  # fmt: skip
