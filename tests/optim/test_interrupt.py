"""Ctrl-C and SIGTERM on a process that trains."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_training import batches, build

from optim import Checkpoints, Journal, LoopSettings, train_loop
from optim.interrupt import stop_on_signals

HERE = Path(__file__).parent


@contextmanager
def training(folder, mode):
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    process = subprocess.Popen(
        [sys.executable, "-u", str(HERE / "interrupted_run.py"), str(folder), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError(f"the process ended without saying {text!r}:\n" + "".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_step_and_leaves_a_checkpoint_to_resume_from(tmp_path, number):
    with training(tmp_path, "run") as process:
        read_until(process, "stepped")
        process.send_signal(number)
        read_until(process, f"{number.name}: finishing this step")
        last = read_until(process, "interrupted")
        assert process.wait() == 0
    step = int(re.fullmatch(r"interrupted True at (\d+)\n", last)[1])
    snapshot = Checkpoints(tmp_path).load()
    assert snapshot.step == step
    model, optimizer, scheduler = build(step + 2)
    snapshot.restore({"model": model, "optimizer": optimizer, "scheduler": scheduler})
    outcome = train_loop(
        model, optimizer, scheduler, batches, LoopSettings(step + 2), Journal(step + 2, step), start=step
    )
    assert outcome.step == step + 2


def test_the_second_signal_stops_at_once(tmp_path):
    with training(tmp_path, "hang") as process:
        read_until(process, "stepped")
        process.send_signal(signal.SIGINT)
        read_until(process, "finishing this step")
        process.send_signal(signal.SIGINT)
        read_until(process, "KeyboardInterrupt")
        assert process.wait() != 0
    assert Checkpoints(tmp_path).load() is None


def test_handlers_are_put_back(capfd):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop.made
        signal.raise_signal(signal.SIGTERM)
        assert stop.made
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr().err.count("SIGTERM") == 1
