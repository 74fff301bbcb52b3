"""QK-clip on a plain transformers Llama, and on what it must refuse."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from optim import (
    ClippableAttention,
    MuonClip,
    OptimError,
    clip_attentions,
    clippable_attentions,
    split_parameters,
)

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "attn_implementation": "eager",
}


def llama(key_heads):
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=key_heads)).train()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight[:8] *= 60  # the first head is far above the others
            layer.self_attn.k_proj.weight *= 20
    return model


def eager_logits(model, layer, tokens_BT):
    """Scaled logits [B, H, T, T] of the pairs that see each other, by hand from the layer's own input."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

    attention = model.model.layers[layer].self_attn
    caught = {}
    hook = attention.register_forward_pre_hook(lambda _m, _a, kw: caught.update(kw), with_kwargs=True)
    with torch.no_grad():
        model(tokens_BT)
    hook.remove()
    x_BTD = caught["hidden_states"]
    q, k = (
        proj(x_BTD).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj)
    )
    q, k = apply_rotary_pos_emb(q, k, *caught["position_embeddings"])
    logits = q @ repeat_kv(k, attention.num_key_value_groups).mT * attention.scaling
    future = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
    return logits.masked_fill(future, -torch.inf).detach()


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_recorded_logits_are_those_of_the_layers_and_the_output_is_unchanged(key_heads):
    model, tokens_BT = llama(key_heads), torch.randint(50, (3, 9))
    expected = [eager_logits(model, layer, tokens_BT).amax((0, 2, 3)) for layer in range(2)]
    with torch.no_grad():
        before = model(tokens_BT).logits
    attentions = clippable_attentions(model)
    assert all(isinstance(attention, ClippableAttention) for attention in attentions)
    for attention in attentions:
        attention.track_max_logits = True
    with torch.no_grad():
        after = model(tokens_BT).logits
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    for attention, seen_H in zip(attentions, expected, strict=True):
        torch.testing.assert_close(attention.max_logits_H, seen_H, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_a_head_above_tau_comes_down_to_tau_and_the_others_stay(key_heads):
    model, tokens_BT = llama(key_heads), torch.randint(50, (3, 9))
    before = eager_logits(model, 0, tokens_BT)
    first, *_ = attentions = clippable_attentions(model)
    first.track_max_logits = True
    model(tokens_BT)
    seen_H = first.max_logits_H.clone()
    tau = float(seen_H[0]) / 4
    assert seen_H[1:].max() < tau
    assert clip_attentions(attentions, tau).clipped_heads == 1
    after = eager_logits(model, 0, tokens_BT)
    torch.testing.assert_close(after[:, 0], before[:, 0] / 4, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], atol=1e-3, rtol=1e-4)


def test_a_query_bias_is_clipped_with_its_head():
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=2)).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6)
    attentions = clippable_attentions(model)
    tokens_BT = torch.randint(50, (2, 7))
    attentions[0].track_max_logits = True
    model(tokens_BT)
    tau = float(attentions[0].max_logits_H.max()) / 3
    clip_attentions(attentions, tau)
    model(tokens_BT)
    assert float(attentions[0].max_logits_H.max()) == pytest.approx(tau, rel=1e-3)


def test_padding_is_not_seen():
    model = llama(2)
    (attention, *_) = clippable_attentions(model)
    attention.track_max_logits = True
    tokens_BT = torch.randint(50, (1, 6))
    model(tokens_BT)
    alone_H, attention.max_logits_H = attention.max_logits_H, None
    padded_BT = torch.cat([tokens_BT, torch.full((1, 4), 7)], dim=1)
    model(padded_BT, attention_mask=torch.tensor([[1] * 6 + [0] * 4]))
    seen_H = attention.max_logits_H
    assert (seen_H >= alone_H - 1e-4).all()  # padded queries still look at true keys
    attention.max_logits_H = None
    left_BT = torch.cat([torch.full((1, 4), 7), tokens_BT], dim=1)
    model(
        left_BT,
        attention_mask=torch.tensor([[0] * 4 + [1] * 6]),
        position_ids=torch.tensor([[0] * 4 + list(range(6))]),
    )
    torch.testing.assert_close(attention.max_logits_H, alone_H, atol=1e-3, rtol=1e-3)


def test_training_a_llama_holds_its_logits_at_tau():
    model = llama(2)
    attentions = clippable_attentions(model)
    optimizer = MuonClip(split_parameters(model), lr=1e-3, attentions=attentions, tau=5.0)
    tokens_BT = torch.randint(50, (4, 12))
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        model(tokens_BT, labels=tokens_BT).loss.backward()
        optimizer.step()
        seen.append(optimizer.last_clip.max_logit)
    assert seen[0] > 10
    assert max(seen[3:]) < 6


def test_evaluation_records_nothing():
    model = llama(4)
    attentions = clippable_attentions(model)
    for attention in attentions:
        attention.track_max_logits = True
    model.eval()
    model(torch.randint(50, (1, 5)))
    assert all(attention.max_logits_H is None for attention in attentions)


def test_models_that_cannot_be_clipped_are_refused():
    with pytest.raises(OptimError, match="normalises"):
        clippable_attentions(Qwen3ForCausalLM(Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=8)))
    with pytest.raises(OptimError, match="Linear has no attention"):
        clippable_attentions(torch.nn.Linear(2, 2))
