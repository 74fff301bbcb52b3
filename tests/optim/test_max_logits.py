"""The largest logits of attention, by the second pass and by FlexAttention's auxiliary output."""

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from optim.max_logits import attention_and_max_logits, causal_blocks, max_logits


def by_hand(q, k, v, scale, seen):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    logits = (q @ k.mT * scale).masked_fill(~seen, -torch.inf)
    return logits.softmax(-1) @ v, logits.amax((0, 2, 3))


def tensors(key_heads, length):
    q = torch.randn(2, 4, length, 16)
    k, v = torch.randn(2, 2, key_heads, length, 16)
    return q, k, v


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("length", [1, 63, 64, 150])
def test_the_second_pass_is_attention_by_hand(key_heads, length):
    q, k, v = tensors(key_heads, length)
    expected = by_hand(q, k, v, 0.3, torch.ones(length, length, dtype=torch.bool).tril())
    for found, wanted in zip(attention_and_max_logits(q, k, v, 0.3), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_mask_hides_pairs_whether_it_is_true_or_added():
    q, k, v = tensors(2, 70)
    seen = (torch.rand(2, 1, 70, 70) < 0.5) | torch.eye(70, dtype=torch.bool)
    expected = by_hand(q, k, v, 0.25, seen)
    added = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    for mask in (seen, added):
        for found, wanted in zip(attention_and_max_logits(q, k, v, 0.25, mask), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_the_result_has_a_gradient_and_the_logits_have_none():
    q, k, v = (x.requires_grad_() for x in tensors(2, 10))
    out, largest = attention_and_max_logits(q, k, v, 0.25)
    assert not largest.requires_grad
    out.sum().backward()
    assert v.grad.abs().sum() > 0


def test_flex_attentions_blocks_are_causal():
    q, k, v = tensors(4, 150)  # on a CPU flex runs forward only and refuses to return the maxima
    out = flex_attention(q, k, v, block_mask=causal_blocks(150, "cpu"), scale=0.25)
    torch.testing.assert_close(out, attention_and_max_logits(q, k, v, 0.25)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_flex_attention_is_taken_and_trains():
    q, k, v = (x.cuda().requires_grad_() for x in tensors(2, 128))
    out, largest = attention_and_max_logits(q, k, v, 0.25)
    out.sum().backward()
    torch.testing.assert_close(largest, max_logits(q, k, 0.25), atol=1e-2, rtol=1e-2)
    assert v.grad.abs().sum() > 0
