"""QK-clip on a small attention."""

import math

import pytest
import torch
from tiny_training import TinyAttention, batches, build

from optim import ClippableAttention, clip_attentions


@pytest.fixture
def attention():
    attention = TinyAttention(width=8, heads=2)
    with torch.no_grad():
        attention.q_proj.weight[:4] *= 40  # head 0 is far above, head 1 far below
    attention.track_max_logits = True
    return attention


def test_the_tiny_attention_is_clippable(attention):
    assert isinstance(attention, ClippableAttention)
    assert not isinstance(torch.nn.Linear(2, 2), ClippableAttention)


def test_a_head_above_tau_comes_down_to_tau_and_the_other_stays(attention):
    x_BTD = torch.randn(4, 6, 8)
    attention(x_BTD)
    seen_H = attention.max_logits_H.clone()
    before_BHTT = attention.logits(x_BTD)
    tau = float(seen_H[0]) / 3
    assert seen_H[1] < tau
    stats = clip_attentions([attention], tau)
    assert (stats.clipped_heads, stats.heads) == (1, 2)
    assert stats.max_logit == pytest.approx(float(seen_H[0]))
    after_BHTT = attention.logits(x_BTD)
    torch.testing.assert_close(after_BHTT[:, 0], before_BHTT[:, 0] / 3)
    torch.testing.assert_close(after_BHTT[:, 1], before_BHTT[:, 1])
    attention(x_BTD)
    assert float(attention.max_logits_H[0]) == pytest.approx(tau)


def test_it_forgets_what_was_recorded_and_then_falls_silent(attention):
    attention(torch.randn(4, 6, 8))
    clip_attentions([attention], tau=100.0)
    assert attention.max_logits_H is None
    stats = clip_attentions([attention], tau=100.0)
    assert math.isnan(stats.max_logit)
    assert (stats.clipped_heads, stats.heads) == (0, 0)


def test_below_tau_no_weight_changes(attention):
    attention(torch.randn(4, 6, 8))
    before = [p.clone() for p in attention.parameters()]
    assert clip_attentions([attention], tau=1e9).clipped_heads == 0
    assert all(torch.equal(a, b) for a, b in zip(before, attention.parameters(), strict=True))


def test_training_with_muonclip_holds_the_logits_at_tau():
    def run(tau):
        model, optimizer, _ = build(60, tau=tau)
        seen, clipped = [], 0
        stream = batches(0)
        for _ in range(60):
            optimizer.zero_grad()
            model.loss(*next(stream)[0])[0].backward()
            optimizer.step()
            seen.append(optimizer.last_clip.max_logit)
            clipped += optimizer.last_clip.clipped_heads
        return seen, clipped

    free, never = run(tau=1e9)
    held, clipped = run(tau=1.5)
    assert never == 0
    assert clipped > 0
    assert max(free) > 2.5
    assert max(held) < 2.0  # tau, and what one step can add to it
