"""The fast mixture of experts is the plain one; the router's bias balances its load."""

import dataclasses

import torch
from tiny_models import TINY, seeded, tokens

from model import update_router_bias
from model.moe import Experts, MixtureOfExperts, Router, Routes, experts_reference, round_up, sequence_balance


def some_experts() -> Experts:
    torch.manual_seed(0)
    experts = Experts(TINY).double()
    for matrix in experts.parameters():
        matrix.data.normal_(0.0, 0.3)
    return experts


def test_fast_experts_equal_the_reference_in_value_and_gradient() -> None:
    experts = some_experts()
    x = torch.randn(50, 64, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(50, 2, dtype=torch.float64, requires_grad=True)
    chosen = torch.rand(50, 8)
    chosen[:, 3] = -1  # one expert gets no token at all
    chosen = chosen.topk(2).indices
    fast = experts(x, weights, chosen)
    plain = experts_reference(x, weights, chosen, experts)
    torch.testing.assert_close(fast, plain)
    inputs = [x, weights, *experts.parameters()]
    upstream = torch.randn_like(fast)
    gradients = torch.autograd.grad(fast, inputs, upstream), torch.autograd.grad(plain, inputs, upstream)
    torch.testing.assert_close(*gradients)
    assert not gradients[0][2][3].any()


def test_routes_sort_pairs_by_expert_and_back() -> None:
    chosen = torch.tensor([[2, 0], [2, 1], [0, 2]])
    routes = Routes(chosen, 4)
    assert routes.counts_E.tolist() == [2, 1, 3, 0]
    assert chosen.flatten()[routes.pair_P].tolist() == [0, 0, 1, 2, 2, 2]
    assert routes.token_P[:6].tolist() == [0, 2, 1, 0, 1, 2]
    assert [part.stop - part.start for part in routes.wide] == [16, 16, 16, 0]
    assert len(routes.token_P) == routes.wide[2].stop
    assert routes.pair_P[routes.place_NA.flatten()].tolist() == list(range(6))


def test_rounding_up_keeps_the_lengths_few_and_the_waste_small() -> None:
    lengths = {round_up(count) for count in range(256, 4097)}
    assert len(lengths) <= 4 * 16 + 1
    assert all(count <= round_up(count) <= 1.125 * count for count in range(128, 5000))
    waste = sum(round_up(count) - count for count in range(512, 2048)) / sum(range(512, 2048))
    assert waste < 0.03


def test_the_bias_steers_the_choice_but_not_the_weights() -> None:
    router = Router(TINY)
    torch.manual_seed(0)
    router.weight.data.normal_()
    x = torch.randn(20, 64)
    router.e_score_correction_bias[5] = 10.0
    weights, chosen = router(x)
    assert (chosen == 5).any(-1).all()
    scores = (x @ router.weight.T).sigmoid().gather(1, chosen)
    torch.testing.assert_close(weights, scores / scores.sum(-1, keepdim=True))


def test_a_choice_stays_within_the_best_groups() -> None:
    config = dataclasses.replace(TINY, n_group=4, topk_group=1)
    router = Router(config)
    torch.manual_seed(0)
    router.weight.data.normal_()
    _, chosen = router(torch.randn(40, 64))
    assert (chosen[:, 0] // 2 == chosen[:, 1] // 2).all()


def test_bias_updates_balance_a_skewed_router() -> None:
    torch.manual_seed(0)
    moe = MixtureOfExperts(TINY).train()
    for parameter in moe.parameters():
        parameter.data.normal_(0.0, 0.1)
    x = torch.randn(8, 64, 64) + 2.0  # a common direction makes some experts everyone's favourites

    def skew() -> float:
        moe(x)
        return float(moe.gate.load_E.max() / moe.gate.load_E.mean())

    before = skew()
    for _ in range(100):
        update_router_bias(moe, 0.01)
        after = skew()
    assert before > 2 > 1.3 > after


def test_an_update_moves_each_bias_by_the_rate_and_resets_the_load() -> None:
    model = seeded(TINY).train()
    router = next(module for module in model.modules() if isinstance(module, Router))
    model(tokens(TINY))
    load, bias = router.load_E.clone(), router.e_score_correction_bias.clone()
    assert load.sum() == 2 * 70 * 2
    update_router_bias(model, 0.001)
    expected = bias + 0.001 * (load.mean() - load).sign()
    torch.testing.assert_close(router.e_score_correction_bias, expected)
    assert not router.load_E.any()


def test_evaluation_counts_no_load() -> None:
    model = seeded(TINY)
    model(tokens(TINY))
    assert not any(module.load_E.any() for module in model.modules() if isinstance(module, Router))


def test_sequence_balance_is_deepseeks_formula_sequence_by_sequence() -> None:
    torch.manual_seed(0)
    scores = torch.rand(2, 9, 8)
    chosen = scores.topk(2).indices
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[1, 6:] = False
    losses = []
    for s, c, length in ((scores[0], chosen[0], 9), (scores[1], chosen[1], 6)):
        total = 0.0
        for i in range(8):
            f = 8 / (2 * length) * sum(int(i in c[t].tolist()) for t in range(length))
            p = sum(float(s[t, i] / s[t].sum()) for t in range(length)) / length
            total += f * p
        losses.append(total)
    found = sequence_balance(scores.flatten(0, 1), chosen.flatten(0, 1), valid)
    assert abs(float(found) - sum(losses) / 2) < 1e-5


def test_the_balance_loss_is_added_only_if_asked_for_and_reaches_the_router() -> None:
    model, batch = seeded(TINY).train(), tokens(TINY)
    plain, _ = model.loss(batch[:, :-1], batch[:, 1:])
    router = model.layers[1].mlp.gate
    (without,) = torch.autograd.grad(plain, router.weight)
    model.balance_loss = 0.5
    balanced, _ = model.loss(batch[:, :-1], batch[:, 1:])
    (with_it,) = torch.autograd.grad(balanced, router.weight)
    assert balanced > plain + 0.4  # one layer of experts, and the formula's least is about 1
    assert (with_it - without).abs().max() > 1e-5
    assert router.seen is None
