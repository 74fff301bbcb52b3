"""Max logits and QK-clip of latent attention."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from tiny_models import SHAPES, TINY, seeded, tokens
from torch import Tensor

from model import LatentAttention, Transformer
from model.attention import _Assemble, assemble_reference, max_logits
from model.causal_attention import causal_attention
from model.rotary import rotary_table


def attentions(model: Transformer) -> list[LatentAttention]:
    return [module for module in model.modules() if isinstance(module, LatentAttention)]


def tracked(model: Transformer, batch: Tensor) -> list[Tensor]:
    """Max logits per layer of one forward pass."""
    for attention in attentions(model):
        attention.track_max_logits, attention.max_logits_H = True, None
    with torch.no_grad():
        model(batch)
    return [attention.max_logits_H for attention in attentions(model)]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 150])
def test_max_logits_are_those_of_the_whole_causal_table(length: int) -> None:
    torch.manual_seed(length)
    q, k = torch.randn(3, 2, length, 8), torch.randn(3, 2, length, 8)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    table = (q @ k.transpose(2, 3) * 0.3).masked_fill(future, -torch.inf)
    torch.testing.assert_close(max_logits(q, k, 0.3), table.amax((0, 2, 3)))
    valid = torch.arange(length) < torch.tensor([[1], [length], [max(1, length // 2)]])
    expected = table.masked_fill(~valid[:, None, :, None], -torch.inf).amax((0, 2, 3))
    torch.testing.assert_close(max_logits(q, k, 0.3, valid), expected)


def test_tracking_is_a_running_max_that_changes_no_output() -> None:
    model, first, second = seeded(TINY), tokens(TINY, seed=1), tokens(TINY, seed=2)
    quiet = model(first)
    alone = [a.maximum(b) for a, b in zip(tracked(model, first), tracked(model, second), strict=True)]
    tracked(model, first)
    model(second)
    assert torch.equal(model(first), quiet)
    for attention, expected in zip(attentions(model), alone, strict=True):
        torch.testing.assert_close(attention.max_logits_H, expected)


def test_padding_does_not_count_in_max_logits() -> None:
    model, batch = seeded(TINY), tokens(TINY)
    padded = torch.cat([batch, torch.zeros(2, 30, dtype=torch.long)], dim=1)
    model.embed_tokens.weight.data[0] *= 50  # a padding token whose own logits would show
    for bare, with_padding in zip(tracked(model, batch), tracked(model, padded), strict=True):
        torch.testing.assert_close(bare, with_padding)


@pytest.mark.parametrize("name", ["plain", "q_lora", "yarn", "uneven"])
def test_after_the_clip_no_logit_of_the_first_layer_exceeds_tau(name: str) -> None:
    model = seeded(dataclasses.replace(SHAPES[name], initializer_range=0.3))
    batch = tokens(TINY)
    before = tracked(model, batch)[0]
    tau = float(before.min() + before.max()) / 2  # one head above it, one below
    attention = attentions(model)[0]
    attention.qk_clip_((tau / before).clamp(max=1.0))
    after = tracked(model, batch)[0]
    torch.testing.assert_close(after, before.clamp(max=tau), rtol=1e-5, atol=1e-5)


def test_the_clip_of_one_head_leaves_the_other_and_the_shared_rotary_key_alone() -> None:
    model = seeded(TINY)
    attention = attentions(model)[0]
    former = {name: tensor.clone() for name, tensor in attention.state_dict().items()}
    attention.qk_clip_(torch.tensor([0.25, 1.0]))
    now = attention.state_dict()
    query, was = now["q_proj.weight"].view(2, 32, -1), former["q_proj.weight"].view(2, 32, -1)
    torch.testing.assert_close(query[0, :16], was[0, :16] * 0.5)
    torch.testing.assert_close(query[0, 16:], was[0, 16:] * 0.25)
    assert torch.equal(query[1], was[1])
    key, was = now["kv_b_proj.weight"].view(2, 48, -1), former["kv_b_proj.weight"].view(2, 48, -1)
    torch.testing.assert_close(key[0, :16], was[0, :16] * 0.5)
    assert torch.equal(key[0, 16:], was[0, 16:]) and torch.equal(key[1], was[1])
    for name in ("kv_a_proj_with_mqa.weight", "kv_a_layernorm.weight", "o_proj.weight"):
        assert torch.equal(now[name], former[name])


def test_assembling_equals_its_twin_and_its_gradient() -> None:
    torch.manual_seed(0)
    q, kv, k_rope = torch.randn(2, 9, 3, 10), torch.randn(2, 9, 3, 11), torch.randn(2, 9, 4)
    inputs = [tensor.double().requires_grad_() for tensor in (q, kv, k_rope)]
    table = rotary_table(dataclasses.replace(TINY, qk_rope_head_dim=4), 9)
    fast, plain = _Assemble.apply(*inputs, table, 0.3), assemble_reference(*inputs, table, 0.3)
    torch.testing.assert_close(fast, plain)
    weights = [torch.randn_like(tensor) for tensor in fast]
    torch.testing.assert_close(
        torch.autograd.grad(fast, inputs, weights), torch.autograd.grad(plain, inputs, weights)
    )


@pytest.mark.parametrize("length", [1, 30, 256, 257, 600])
def test_causal_attention_is_pytorchs_in_value_gradient_and_largest_logits(length: int) -> None:
    torch.manual_seed(length)
    q, k, v = (torch.randn(2, 3, length, size, dtype=torch.float64, requires_grad=True) for size in (8, 8, 6))
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0).transpose(1, 2)
    ours, largest = causal_attention(q, k, v, track=True)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (q, k, v), upstream), torch.autograd.grad(theirs, (q, k, v), upstream)
    )
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    torch.testing.assert_close(largest, (q @ k.mT).masked_fill(future, -torch.inf).amax(-1))


def test_causal_attention_in_bfloat16_is_as_near_to_float64_as_pytorchs_plain_one() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(4, 4, 200, 64).bfloat16() for _ in range(3))
    q = q * 0.5  # logits up to 20
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True, scale=1.0)
    future = torch.ones(200, 200, dtype=torch.bool).triu(1)
    plain = (q @ k.mT).masked_fill(future, -torch.inf).softmax(-1) @ v
    ours, _ = causal_attention(q, k, v)
    error = (ours.transpose(1, 2) - exact).norm() / exact.norm()
    assert error <= 1.05 * (plain - exact).norm() / exact.norm() < 0.05
