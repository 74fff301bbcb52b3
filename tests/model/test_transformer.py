"""What holds of the model whatever its weights."""

import pytest
import torch
import torch.nn.functional as F
from tiny_models import TINY, seeded, tokens

from model import PRESETS, ModelConfig, ModelError, Transformer
from model.head import linear_cross_entropy, linear_cross_entropy_reference
from model.rmsnorm import RMSNorm, rms_norm_reference
from model.transformer import branch_bias
from model.tree_attention import PADDING, tree_attention, trees


@torch.no_grad()
def test_a_token_does_not_change_what_precedes_it(shape: ModelConfig) -> None:
    model, batch = seeded(shape), tokens(shape)
    changed = batch.clone()
    changed[:, 40:] = tokens(shape, seed=2)[:, 40:]
    before, after = model(batch), model(changed)
    torch.testing.assert_close(before[:, :40], after[:, :40], atol=1e-5, rtol=0)
    assert (before[:, 40:] - after[:, 40:]).abs().max() > 0.1


@torch.no_grad()
def test_padding_on_the_right_changes_nothing() -> None:
    model, batch = seeded(TINY), tokens(TINY)
    padded = torch.cat([batch, torch.zeros(2, 30, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(padded)[:, :70], model(batch), atol=1e-5, rtol=0)


def test_loss_is_cross_entropy_at_the_targets_alone() -> None:
    model, batch = seeded(TINY), tokens(TINY)
    targets = torch.full_like(batch, -100)
    targets[0, 5], targets[1, 60] = 7, 9
    loss, count = model.loss(batch, targets)
    logits = model.logits(model(batch))
    expected = -(logits[0, 5].log_softmax(-1)[7] + logits[1, 60].log_softmax(-1)[9]) / 2
    torch.testing.assert_close(loss, expected)
    assert count == 2


def test_a_batch_without_targets_is_refused() -> None:
    with pytest.raises(ModelError, match="no target"):
        seeded(TINY).loss(tokens(TINY), torch.full((2, 70), -100))


def test_a_sequence_too_long_is_refused() -> None:
    with pytest.raises(ModelError, match="max_position_embeddings"):
        seeded(TINY)(torch.zeros(1, 513, dtype=torch.long))


def test_autocast_agrees_with_float32_up_to_bfloat16() -> None:
    model, batch = seeded(TINY), tokens(TINY, batch=4)
    exact, _ = model.loss(batch[:, :-1], batch[:, 1:])
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = model.loss(batch[:, :-1], batch[:, 1:])
    rough.backward()
    assert abs(exact.item() - rough.item()) < 0.02 * exact.item()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_a_model_learns_a_sequence_by_heart() -> None:
    model, batch = seeded(TINY), tokens(TINY, batch=1, length=30)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        loss, _ = model.loss(batch[:, :-1], batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_head_in_chunks_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.head._ROWS", 16)
    torch.manual_seed(0)
    x, weight = torch.randn(40, 24, requires_grad=True), torch.randn(50, 24, requires_grad=True)
    targets = torch.randint(0, 50, (40,))
    fast = torch.autograd.grad(3 * linear_cross_entropy(x, weight, targets), (x, weight))
    plain = torch.autograd.grad(3 * linear_cross_entropy_reference(x, weight, targets), (x, weight))
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-4)


def test_rms_norm_equals_its_twin_and_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("model.rmsnorm._CACHED", 64)  # four rows at a time
    norm = RMSNorm(16, eps=1e-3).double()
    norm.weight.data.normal_()
    x = torch.randn(3, 5, 16, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(norm(x), rms_norm_reference(x, norm.weight, 1e-3))
    assert torch.autograd.gradcheck(norm, (x,))


def test_parameter_count_is_the_modules_own(shape: ModelConfig) -> None:
    counted = sum(p.numel() for p in Transformer(shape).parameters())
    assert shape.parameter_count().total == counted


def test_k2_has_the_published_size() -> None:
    with torch.device("meta"):
        total = sum(p.numel() for p in Transformer(PRESETS["k2"]).parameters())
    assert total == PRESETS["k2"].parameter_count().total
    assert total == pytest.approx(1.04e12, rel=0.02)
    assert PRESETS["k2"].parameter_count().active == pytest.approx(32.6e9, rel=0.02)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_vllm_can_serve_every_preset(preset: str) -> None:
    config = PRESETS[preset]
    assert config.qk_head_dim in {32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512}
    assert config.hidden_size % 32 == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"q_lora_rank": 0}, "q_lora_rank"),
        ({"first_k_dense_replace": 3}, "first_k_dense_replace is 3"),
        ({"qk_rope_head_dim": 15}, "even"),
        ({"n_group": 3}, "do not divide"),
        ({"topk_group": 2}, "topk_group is 2"),
        ({"n_group": 8}, "groups of 2 or more"),
        ({"num_experts_per_tok": 9}, "hold only 8 experts"),
        ({"pad_token_id": 512}, "pad_token_id is 512"),
        ({"hidden_dim": 3}, "hidden_dim"),
    ],
)
def test_an_impossible_shape_is_refused(change: dict[str, int], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        ModelConfig.from_json({**TINY.to_json(), **change})


def test_config_survives_json(shape: ModelConfig) -> None:
    assert ModelConfig.from_json(shape.to_json()) == shape


@torch.no_grad()
def test_branches_are_what_they_would_be_alone(shape: ModelConfig) -> None:
    model = seeded(shape)
    trunk, one, two, apart = tokens(shape, batch=1).split([30, 12, 20, 8], dim=1)
    branch = torch.tensor([[0] * 30 + [1] * 12 + [2] * 20 + [-1] * 8])
    together = model(torch.cat([trunk, one, two, apart], dim=1), branch)[0]
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(together[:42], model(torch.cat([trunk, one], dim=1))[0], **close)
    torch.testing.assert_close(together[42:62], model(torch.cat([trunk, two], dim=1))[0, 30:], **close)
    torch.testing.assert_close(together[62:], model(apart)[0], **close)


def test_tree_attention_is_attention_with_a_dense_mask() -> None:
    torch.manual_seed(0)
    branch = torch.tensor([
        [0] * 20 + [1] * 5 + [2] * 9 + [3] * 3 + [-1] * 4,
        [0] * 10 + [1] * 12 + [2] * 7 + [PADDING] * 12,
        [-1] * 30 + [PADDING] * 11,
        [0] * 41,
    ])  # fmt: skip
    q, k, v = (torch.randn(4, 3, 41, size, requires_grad=True) for size in (16, 16, 24))
    real = (branch != PADDING)[:, None, :, None]
    weights = torch.randn(4, 3, 41, 24) * real
    bias = branch_bias(branch, torch.float32)
    dense = F.scaled_dot_product_attention(q, k, v, bias, scale=0.3)
    tree, largest = tree_attention(q * 0.3, k, v, trees(branch))
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(tree * real, dense * real, **close)
    for ours, theirs in zip(
        torch.autograd.grad((tree * weights).sum(), (q, k, v)),
        torch.autograd.grad((dense * weights).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **close)
    expected = (q @ k.mT * 0.3 + bias).amax(-1).masked_fill(~real[..., 0], -torch.inf)
    torch.testing.assert_close(largest, expected, **close)


@torch.no_grad()
def test_max_logits_of_branches_are_the_largest_of_each_alone() -> None:
    model = seeded(TINY)
    attention = model.layers[0].self_attn
    attention.track_max_logits = True

    def seen(*run: torch.Tensor) -> torch.Tensor:
        attention.max_logits_H = None
        model(*run)
        return attention.max_logits_H

    trunk, one, two = tokens(TINY, batch=1).split([30, 20, 20], dim=1)
    branch = torch.tensor([[0] * 30 + [1] * 20 + [2] * 20])
    apart = torch.maximum(seen(torch.cat([trunk, one], dim=1)), seen(torch.cat([trunk, two], dim=1)))
    torch.testing.assert_close(seen(torch.cat([trunk, one, two], dim=1), branch), apart, atol=1e-5, rtol=0)
