"""The training loop on a real, tiny model."""

import importlib.util
import io
import json
import math
import resource
from itertools import islice

import pytest
import torch
from rich.console import Console
from tiny_training import batches, build

from optim import (
    Checkpoints,
    ConfigError,
    DivergedError,
    Journal,
    LoopSettings,
    MovingAverage,
    OptimError,
    train_loop,
)


def quiet(total, start=0, **options):
    return Journal(total, start, console=Console(file=io.StringIO()), **options)


def run(steps, built=None, settings=None, stream=batches, **options):
    model, optimizer, scheduler = built or build(steps)
    settings = settings or LoopSettings(steps, precision="fp32")
    start = options.get("start", 0)
    journal = options.pop("journal", None) or quiet(steps, start)
    outcome = train_loop(model, optimizer, scheduler, stream, settings, journal, **options)
    return model, outcome


def parts_of(built):
    return dict(zip(("model", "optimizer", "scheduler"), built, strict=True))


def assert_same_weights(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_it_learns_to_count():
    _, outcome = run(60)
    assert outcome.step == 60
    assert not outcome.interrupted
    assert outcome.last_loss < 0.1 < math.log(31)


def test_a_killed_run_resumes_to_exactly_the_uninterrupted_one(tmp_path):
    whole, _ = run(12)
    settings = LoopSettings(12, precision="fp32", checkpoint_every=5)
    checkpoints = Checkpoints(tmp_path)

    def dies_at_step_8(step):
        yield from islice(batches(step), 8 - step)
        raise ConnectionError("the machine is gone")

    killed = build(12)
    with pytest.raises(ConnectionError):
        run(12, killed, settings, dies_at_step_8, checkpoints=checkpoints, parts=parts_of(killed))
    snapshot = checkpoints.load()
    assert snapshot.step == 5
    resumed = build(12, seed=99)
    snapshot.restore(parts_of(resumed))
    model, outcome = run(
        12, resumed, settings, start=snapshot.step, checkpoints=checkpoints, parts=parts_of(resumed)
    )
    assert outcome.step == 12
    assert_same_weights(model, whole)
    assert [path.name[:13] for path in checkpoints.paths()] == ["step-00000010", "step-00000012"]


def test_micro_batches_with_different_numbers_of_targets_add_up_to_the_whole_batch():
    def uneven(step):
        for ((tokens_BT, targets_BT),) in batches(step):
            targets_BT = targets_BT.clone()
            targets_BT[:3, :9] = -100
            yield [(tokens_BT, targets_BT)]

    def in_pieces(step):
        for ((tokens_BT, targets_BT),) in uneven(step):
            yield [(tokens_BT[:3], targets_BT[:3]), (tokens_BT[3:], targets_BT[3:])]

    whole, _ = run(4, stream=uneven)
    pieces, _ = run(4, stream=in_pieces)
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_gradients_are_clipped_to_the_limit_and_reported_before():
    built = build(1)
    seen = {}
    built[1].register_step_pre_hook(lambda optimizer, *_: seen.update(norm=norm(optimizer)))

    def norm(optimizer):
        return math.sqrt(
            sum(float(p.grad.square().sum()) for g in optimizer.param_groups for p in g["params"])
        )

    entries = []
    journal = quiet(1)
    journal.record = entries.append
    run(1, built, LoopSettings(1, grad_clip=0.01, precision="fp32"), journal=journal)
    assert seen["norm"] == pytest.approx(0.01, rel=1e-3)
    assert entries[0]["grad_norm"] > 0.1


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_ten_steps_in_a_row_without_a_finite_number_stop_the_run_and_touch_nothing(tmp_path, poison):
    built = build(20)
    model = built[0]
    checkpoints = Checkpoints(tmp_path)
    before = {}

    def poison_at_step_4(_):
        if built[2].last_epoch == 4:
            before.update({name: value.clone() for name, value in model.state_dict().items()})
            if poison == "loss":
                handle = model.lm_head.register_forward_hook(lambda *_: _[-1] * math.nan)
            else:
                handle = model.lm_head.weight.register_hook(lambda gradient: gradient * math.inf)
            del handle

    with pytest.raises(
        DivergedError, match=rf"the {poison}.*step 13 is (nan|inf).*step-00000012.*Lower train.lr"
    ):
        run(
            20,
            built,
            LoopSettings(20, precision="fp32", checkpoint_every=3),
            checkpoints=checkpoints,
            parts=parts_of(built),
            after_step=poison_at_step_4,
        )
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert checkpoints.load().step == 12


def test_a_step_with_an_infinite_gradient_is_skipped_counted_and_said():
    built = build(6)
    model, console = built[0], Console(file=io.StringIO(), width=200)
    handles, kept = [], []

    def poison_the_third_step(_):
        if built[2].last_epoch == 2:
            handles.append(model.lm_head.weight.register_hook(lambda gradient: gradient * math.inf))
        kept.append({name: value.clone() for name, value in model.state_dict().items()})

    def lifted_after_it(step):
        for batch in batches(step):
            if built[2].last_epoch == 3:
                assert_same_weights(model, Stand(kept[-1]))
                handles.pop().remove()
            yield batch

    journal = Journal(6, console=console)
    _, outcome = run(6, built, stream=lifted_after_it, journal=journal, after_step=poison_the_third_step)
    assert (outcome.step, outcome.skipped, len(kept)) == (6, 1, 5)
    assert (
        "step 3: the gradient norm is inf; skipped, no weight was changed (1 so far)"
        in console.file.getvalue()
    )


class Stand:
    def __init__(self, weights):
        self.state_dict = lambda: weights


def test_a_batch_without_targets_is_an_error():
    def empty(step):
        yield []

    with pytest.raises(OptimError, match="step 0 has no target"):
        run(1, stream=empty)


def test_hooks_run_when_they_are_due():
    steps, evaluations = [], []

    def evaluate(model):
        model.eval()
        evaluations.append(len(steps))
        return {"score": 0.5}

    run(
        7,
        settings=LoopSettings(7, precision="fp32", eval_every=3),
        after_step=lambda model: steps.append(model.training),
        evaluate=evaluate,
    )
    assert steps == [True] * 7
    assert evaluations == [3, 6, 7]


def test_every_step_is_a_line_of_json_and_every_nth_one_for_people(tmp_path):
    console = Console(file=io.StringIO(), width=40)
    path = tmp_path / "log" / "log.jsonl"
    run(10, journal=Journal(10, path=path, log_every=4, console=console))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, 11))
    assert {"loss", "lr", "grad_norm", "max_logit", "clipped_heads", "tokens_per_second"} <= entries[0].keys()
    assert entries[0]["tokens"] == entries[0]["targets"] == 88
    assert [line.split()[1] for line in console.file.getvalue().splitlines()] == [
        "1/10",
        "4/10",
        "8/10",
        "10/10",
    ]


@pytest.mark.parametrize("device_full", [True, False], ids=["no space on device", "file size limit"])
def test_a_log_on_a_full_disk_is_given_up_with_one_warning_and_training_goes_on(tmp_path, device_full):
    path = tmp_path / "log.jsonl"
    if device_full:  # writes to /dev/full fail with ENOSPC
        path.symlink_to("/dev/full")
    console = Console(file=io.StringIO())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if device_full else 1000, before[1]))
    try:
        _, outcome = run(10, journal=Journal(10, path=path, console=console))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outcome.step == 10
    assert console.file.getvalue().count("log.jsonl cannot be written") == 1
    if not device_full:  # lines are of about 200 bytes, and none is torn
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert steps == list(range(1, len(steps) + 1))
        assert 3 <= len(steps) <= 5


def test_a_log_that_cannot_be_opened_is_said_and_training_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    console = Console(file=io.StringIO())
    _, outcome = run(2, journal=Journal(2, path=tmp_path / "file" / "log.jsonl", console=console))
    assert outcome.step == 2
    assert console.file.getvalue().count("log.jsonl cannot be written") == 1


def test_events_for_tensorboard_are_written_or_the_missing_package_is_named(tmp_path):
    journal = quiet(2, tensorboard=tmp_path / "events")
    if importlib.util.find_spec("tensorboard"):
        run(2, journal=journal)
        assert list((tmp_path / "events").iterdir())
    else:
        with pytest.raises(
            ConfigError, match=r"tensorboard is not installed; pip install 'suresql\[monitor\]'"
        ):
            run(2, journal=journal)


def test_the_share_of_the_peak_is_told(tmp_path):
    path = tmp_path / "log.jsonl"
    run(1, journal=quiet(1, path=path, peak_flops=1e12), flops=lambda micro_batch: 1e6 * len(micro_batch[0]))
    (entry,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert entry["flops_per_second"] == pytest.approx(8e6 / entry["seconds"], rel=0.5)
    assert entry["mfu"] == pytest.approx(entry["flops_per_second"] / 1e12, abs=1e-4)


def test_on_a_terminal_there_is_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    run(3, journal=Journal(3, console=console))
    assert "step 3 of 3" in console.file.getvalue()
    assert "tokens/s" in console.file.getvalue()


def test_bfloat16_autocast_trains_float32_weights():
    model, outcome = run(30, settings=LoopSettings(30, precision="bf16"))
    assert outcome.last_loss < 1.0
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_moving_average_follows_the_weights_and_swaps_in():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(model, decay=0.5)
    expected, values = 1.0, [2.0, 5.0, -3.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    for step, value in enumerate(values):
        torch.nn.init.constant_(model.weight, value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.in_place():
        assert float(model.weight.detach()) == pytest.approx(expected)
    assert float(model.weight.detach()) == 8.0
    other = MovingAverage(model, decay=0.5)
    other.load_state_dict(average.state_dict())
    with other.in_place():
        assert float(model.weight.detach()) == pytest.approx(expected)
