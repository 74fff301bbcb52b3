"""MuonClip against PyTorch's own Muon and AdamW, against the formula, and as a PyTorch optimizer."""

import io
import math

import pytest
import torch
from tiny_training import batches, build
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from optim import MuonClip, OptimError, newton_schulz_reference


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


def test_wrong_groups_and_options_are_refused_with_advice():
    with pytest.raises(OptimError, match="split_parameters"):
        MuonClip(parameters((3, 3)))
    with pytest.raises(OptimError, match=r"\(3,\).*use_muon=False"):
        MuonClip([{"params": parameters((3,)), "use_muon": True}])
    for option in ({"lr": -1.0}, {"momentum": 1.0}, {"tau": 0.0}, {"betas": (0.9, 1.0)}, {"ns_steps": 0}):
        with pytest.raises(OptimError, match=next(iter(option))):
            MuonClip([{"params": parameters((3, 3)), "use_muon": True}], **option)
