"""The smallest real models: shapes that differ where the architecture can."""

import dataclasses

import torch

from model import PRESETS, ModelConfig, Transformer, Yarn

TINY = dataclasses.replace(PRESETS["tiny"], initializer_range=0.1)  # large enough for logits that tell apart

SHAPES = {
    "plain": TINY,
    "q_lora": dataclasses.replace(TINY, q_lora_rank=24),
    "yarn": dataclasses.replace(TINY, rope_scaling=Yarn(8.0, 64, mscale=1.0, mscale_all_dim=0.7)),
    "all_sparse": dataclasses.replace(TINY, first_k_dense_replace=0, n_shared_experts=2),
    "all_dense": dataclasses.replace(TINY, first_k_dense_replace=2),
    "grouped": dataclasses.replace(TINY, n_group=4, topk_group=2, routed_scaling_factor=2.5),
    "unnormed_top3": dataclasses.replace(TINY, norm_topk_prob=False, num_experts_per_tok=3),
    "tied": dataclasses.replace(TINY, tie_word_embeddings=True),
    "uneven": dataclasses.replace(
        TINY, v_head_dim=24, qk_nope_head_dim=24, qk_rope_head_dim=8, q_lora_rank=40
    ),
}


def scaled_down(config: ModelConfig) -> ModelConfig:
    """A preset's structure (q-LoRA, YaRN, groups, experts, tied or not) at sizes that run in a blink."""
    return dataclasses.replace(
        config,
        vocab_size=512,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=min(4, config.num_attention_heads),
        q_lora_rank=config.q_lora_rank and 24,
        kv_lora_rank=32,
        qk_nope_head_dim=max(8, config.qk_nope_head_dim // 8),
        qk_rope_head_dim=max(8, config.qk_rope_head_dim // 8),
        v_head_dim=max(8, config.v_head_dim // 8),
        intermediate_size=128,
        moe_intermediate_size=32,
        n_routed_experts=min(32, config.n_routed_experts),
        initializer_range=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


SHAPES |= {f"{name}_scaled": scaled_down(config) for name, config in PRESETS.items()}


def seeded(config: ModelConfig, seed: int = 0) -> Transformer:
    """A random model whose router biases are random too."""
    torch.manual_seed(seed)
    model = Transformer(config)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.normal_(0.0, 0.05)
    return model.eval()


def tokens(config: ModelConfig, batch: int = 2, length: int = 70, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, config.vocab_size, (batch, length), generator=generator)
