"""MuonClip against PyTorch's own Muon and AdamW, against the formula, and as a PyTorch optimizer."""

import io
import math

import pytest
import torch
from tiny_training import batches, build
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from optim import MuonClip, OptimError, newton_schulz_reference
from optim.newton_schulz import METHODS


def parameters(*shapes):
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


def copies(params):
    return [nn.Parameter(p.detach().clone()) for p in params]


def random_steps(pairs, optimizers, steps=5):
    """Step all optimizers on the same random gradients; `pairs` are tuples of parameters that share one."""
    for _ in range(steps):
        for first, *others in zip(*pairs, strict=True):
            first.grad = torch.randn_like(first)
            for other in others:
                other.grad = first.grad.clone()
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("nesterov", [True, False])
def test_matrices_step_as_in_torch_muon(nesterov):
    ours = parameters((64, 48), (32, 64), (64, 48))
    theirs = copies(ours)
    start = copies(ours)
    options = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95, "nesterov": nesterov}
    random_steps(
        (ours, theirs),
        (
            MuonClip(
                [{"params": ours, "use_muon": True}], ns_method="quintic", ns_dtype=torch.bfloat16, **options
            ),
            torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options),
        ),
    )
    for mine, peer, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(mine, peer, atol=1e-4, rtol=0)  # a unit in bfloat16's last place of a step
        assert (mine - before).abs().mean() > 0.01


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_rest_steps_as_in_torch_adamw(weight_decay):
    ours = parameters((7,), (5, 3), ())
    theirs = copies(ours)
    options = {"lr": 0.01, "weight_decay": weight_decay, "betas": (0.9, 0.95), "eps": 1e-8}
    random_steps(
        (ours, theirs),
        (MuonClip([{"params": ours, "use_muon": False}], **options), torch.optim.AdamW(theirs, **options)),
    )
    for mine, peer in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, peer)


def test_a_step_is_the_formula():
    (weight,) = parameters((6, 10))
    before, first, second = weight.detach().clone(), torch.randn(6, 10), torch.randn(6, 10)
    optimizer = MuonClip(
        [{"params": [weight], "use_muon": True}],
        lr=0.1,
        weight_decay=0.5,
        ns_method="quintic",
        ns_dtype=torch.float32,
    )
    expected, momentum = before, torch.zeros(6, 10)
    for gradient in (first, second):
        weight.grad = gradient
        optimizer.step()
        momentum = 0.95 * momentum + gradient
        update = newton_schulz_reference(momentum) * 0.2 * math.sqrt(10)
        expected = expected - 0.1 * (update + 0.5 * expected)
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(32, 128), (128, 32), (64, 64)])
def test_an_update_has_the_root_mean_square_of_adamw(shape):
    (weight,) = parameters(shape)
    before = weight.detach().clone()
    random_steps(([weight],), [MuonClip([{"params": [weight], "use_muon": True}], lr=1.0, weight_decay=0)], 1)
    root_mean_square = (weight - before).square().mean().sqrt()
    assert 0.15 < root_mean_square < 0.25


def test_a_stack_of_experts_is_its_slices_and_batching_changes_nothing():
    (stack,) = parameters((4, 12, 20))
    slices = [nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    together = MuonClip([{"params": [stack], "use_muon": True}], lr=0.1)
    batched = MuonClip([{"params": slices, "use_muon": True}], lr=0.1)
    alone_slices = copies(slices)
    alone = [MuonClip([{"params": [p], "use_muon": True}], lr=0.1) for p in alone_slices]
    for _ in range(3):
        stack.grad = torch.randn_like(stack)
        for i in range(4):
            slices[i].grad = stack.grad[i].clone()
            alone_slices[i].grad = stack.grad[i].clone()
        for optimizer in (together, batched, *alone):
            optimizer.step()
    torch.testing.assert_close(torch.stack(slices), stack)
    torch.testing.assert_close(torch.stack(alone_slices), stack)


def test_state_goes_through_a_file_and_the_run_goes_on_bitwise():
    def run(steps, model, optimizer, scheduler, start=0):
        stream = batches(start)
        for _ in range(steps):
            optimizer.zero_grad()
            model.loss(*next(stream)[0])[0].backward()
            optimizer.step()
            scheduler.step()

    whole = build(10)
    run(6, *whole)
    half = build(10)
    run(3, *half)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in half], file)
    file.seek(0)
    other = build(10, seed=1)
    for part, state in zip(other, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    run(3, *other, start=3)
    for name, value in whole[0].state_dict().items():
        assert torch.equal(value, other[0].state_dict()[name]), name


def test_the_dtype_chosen_at_the_first_step_is_kept_by_a_checkpoint():
    first, second = parameters((4, 4)), parameters((4, 4))
    before = MuonClip([{"params": first, "use_muon": True}], ns_dtype=torch.float32)
    random_steps((first,), [before], 1)
    after = MuonClip([{"params": second, "use_muon": True}], ns_dtype=torch.bfloat16)
    after.load_state_dict(before.state_dict())
    assert after.param_groups[0]["ns_dtype"] == "float32"
    free = MuonClip([{"params": second, "use_muon": True}])
    assert free.param_groups[0]["ns_dtype"] is None
    random_steps((second,), [free], 1)
    assert free.state_dict()["param_groups"][0]["ns_dtype"] in ("float32", "bfloat16")


def test_groups_may_be_added_and_have_options_of_their_own():
    first, second = parameters((4, 4), (4, 4))
    optimizer = MuonClip([{"params": [first], "use_muon": True}], lr=0.1, weight_decay=0)
    optimizer.add_param_group({"params": [second], "use_muon": True, "lr": 0.0})
    before = second.detach().clone()
    random_steps(([first, second],), [optimizer], 1)
    assert torch.equal(second, before)
    assert "momentum_buffer" in optimizer.state[second]


def test_a_closure_is_called_with_gradients_on():
    (weight,) = parameters((3, 3))
    optimizer = MuonClip([{"params": [weight], "use_muon": True}], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses[-1] < losses[0]


def test_a_scheduler_sets_the_step():
    (weight,) = parameters((5, 5))
    optimizer = MuonClip([{"params": [weight], "use_muon": True}], lr=1.0, weight_decay=0)
    scheduler = LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    random_steps(([weight],), [optimizer], 1)
    scheduler.step()
    before = weight.detach().clone()
    random_steps(([weight],), [optimizer], 1)
    assert torch.equal(weight, before)


def test_a_parameter_without_gradient_is_left_alone():
    first, second = parameters((4, 4), (4, 4))
    before = second.detach().clone()
    first.grad = torch.randn(4, 4)
    optimizer = MuonClip([{"params": [first, second], "use_muon": True}], lr=0.1)
    optimizer.step()
    assert torch.equal(second, before)
    assert second not in optimizer.state


def test_a_column_matrix_in_bfloat16_stays_bfloat16():
    weight = nn.Parameter(torch.randn(9, 2, dtype=torch.bfloat16))
    before = weight.detach().clone()
    random_steps(([weight],), [MuonClip([{"params": [weight], "use_muon": True}], lr=0.1)], 1)
    assert weight.dtype == torch.bfloat16
    assert not torch.equal(weight, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_step_that_is_not_finite_changes_nothing_is_counted_and_said_once(bad, caplog):
    model, optimizer, _ = build(10)
    tokens = next(batches(0))[0]
    model.loss(*tokens)[0].backward()
    optimizer.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {key: {k: v.clone() for k, v in s.items()} for key, s in optimizer.state.items()}
    for skipped in (1, 2):
        optimizer.zero_grad()
        model.loss(*tokens)[0].backward()
        model.norm.bias.grad[3] = bad
        optimizer.step()
        assert optimizer.skipped_steps == skipped
    assert model.attention.max_logits_H is None  # what that forward pass saw is forgotten with it
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for key, kept in state.items():
        assert all(torch.equal(value, optimizer.state[key][name]) for name, value in kept.items())
    assert len([record for record in caplog.records if "skipped" in record.message]) == 1
    optimizer.zero_grad()
    model.loss(*tokens)[0].backward()
    optimizer.step()
    assert optimizer.skipped_steps == 2
    assert not torch.equal(model.state_dict()["down.weight"], before["down.weight"])


def test_a_sparse_gradient_is_refused_before_anything_changes():
    embedding, matrix = nn.Embedding(5, 3, sparse=True), parameters((3, 3))
    optimizer = MuonClip(
        [{"params": matrix, "use_muon": True}, {"params": embedding.parameters(), "use_muon": False}]
    )
    before = matrix[0].detach().clone()
    (embedding(torch.tensor([1])) @ matrix[0]).sum().backward()
    with pytest.raises(OptimError, match="sparse=False"):
        optimizer.step()
    assert torch.equal(matrix[0], before)


@pytest.mark.parametrize("use_muon", [True, False])
def test_parameters_that_cannot_be_stepped_are_refused(use_muon):
    for bad, said in (
        (torch.zeros(0, 3), "empty"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex"),
        (torch.eye(3).to_sparse(), "sparse"),
    ):
        optimizer = MuonClip([{"params": parameters((3, 3)), "use_muon": True}])
        with pytest.raises(OptimError, match=said):
            optimizer.add_param_group({"params": [nn.Parameter(bad)], "use_muon": use_muon})
        assert len(optimizer.param_groups) == 1


def test_a_misspelt_key_of_a_group_is_refused_with_the_right_one():
    with pytest.raises(OptimError, match=r"'wieght_decay'.*'weight_decay' meant"):
        MuonClip([{"params": parameters((3, 3)), "use_muon": True, "wieght_decay": 0.1}])


def test_a_state_of_another_model_is_refused_before_anything_is_loaded():
    small, large = parameters((4, 4), (3,)), parameters((4, 5), (3,))
    optimizers = [
        MuonClip([{"params": [p[0]], "use_muon": True}, {"params": [p[1]], "use_muon": False}], lr=lr)
        for p, lr in ((small, 0.1), (large, 0.2))
    ]
    random_steps((small,), [optimizers[0]], 1)
    with pytest.raises(OptimError, match=r"momentum_buffer.*\(4, 4\).*\(4, 5\)"):
        optimizers[1].load_state_dict(optimizers[0].state_dict())
    assert optimizers[1].param_groups[0]["lr"] == 0.2
    fewer = MuonClip([{"params": parameters((4, 4)), "use_muon": True}])
    with pytest.raises(OptimError, match=r"\[1, 1\].*\[1\]"):
        fewer.load_state_dict(optimizers[0].state_dict())
    swapped = MuonClip([{"params": [small[0]], "use_muon": False}, {"params": [small[1]], "use_muon": False}])
    with pytest.raises(OptimError, match="the other way round"):
        swapped.load_state_dict(optimizers[0].state_dict())


def test_a_state_from_before_there_was_a_choice_of_method_goes_on_with_the_quintic():
    ours = parameters((4, 4))
    optimizer = MuonClip([{"params": ours, "use_muon": True}])
    random_steps((ours,), [optimizer], 1)
    state = optimizer.state_dict()
    for key in ("ns_method", "ns_dtype"):
        del state["param_groups"][0][key]
    later = MuonClip([{"params": ours, "use_muon": True}])
    later.load_state_dict(state)
    assert later.param_groups[0]["ns_method"] == "quintic"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("nesterov", [True, False])
def test_cutting_the_batch_into_chunks_changes_nothing_but_rounding(method, nesterov, monkeypatch):
    shapes = ((5, 12, 20), (12, 20), (20, 12), (3, 12, 20), (12, 20))
    ours = parameters(*shapes)
    options = {"lr": 0.1, "ns_method": method, "nesterov": nesterov, "ns_dtype": torch.float32}
    results = []
    for chunk in (1, 3 * 12 * 20, 1 << 20):  # each matrix by itself, three at a time, all at once
        monkeypatch.setattr("optim.muon_update.CHUNK", chunk)
        torch.manual_seed(3)
        mine = copies(ours)
        random_steps((mine,), [MuonClip([{"params": mine, "use_muon": True}], **options)], 2)
        results.append(mine)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_wrong_groups_and_options_are_refused_with_advice():
    with pytest.raises(OptimError, match="split_parameters"):
        MuonClip(parameters((3, 3)))
    with pytest.raises(OptimError, match=r"\(3,\).*use_muon=False"):
        MuonClip([{"params": parameters((3,)), "use_muon": True}])
    for option in (
        {"lr": -1.0},
        {"momentum": 1.0},
        {"tau": 0.0},
        {"betas": (0.9, 1.0)},
        {"ns_steps": 0},
        {"ns_method": "sextic"},
    ):
        with pytest.raises(OptimError, match=next(iter(option))):
            MuonClip([{"params": parameters((3, 3)), "use_muon": True}], **option)
