"""The training script on the demo's questions and the tiny model, from file to exported model."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import optim.train
from model import hf

FILE = """
[model]
preset = "tiny"
vocab_size = 700
max_position_embeddings = 1024

[data]
demo = 40

[train]
steps = 6
batch_tokens = 2048
warmup = 2
checkpoint_every = 4
eval_every = 6
eval_examples = 4
ema_decay = 0.5
device = "cpu"

[output]
run = "{folder}/run"
export = "{folder}/export"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(FILE.format(folder=tmp_path))
    return path


def weights(folder):
    return hf.load(folder)[0].state_dict()


def test_from_file_to_exported_model_and_no_run_is_overwritten_unasked(config, tmp_path, capfd):
    assert optim.train.main(config) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3, 4, 5, 6]
    assert {"eval_loss", "eval_loss_ask"} <= log[-1].keys()
    _, tokenizer = hf.load(tmp_path / "export")
    assert len(tokenizer.encode("<ask><c3>")) == 2
    assert optim.train.main(config) == 1
    assert "say --resume to go on from it, --fresh to discard it" in capfd.readouterr().err
    assert optim.train.main(config, resume=True, settings=["train.lr=0.5"]) == 1
    assert "train.lr: checkpoint 0.002, now 0.5" in capfd.readouterr().err


def test_an_interrupted_run_says_how_to_resume_and_ends_as_the_uninterrupted(
    config, tmp_path, capfd, monkeypatch
):
    assert optim.train.main(config) == 0
    whole = weights(tmp_path / "export")
    update, calls = optim.train.model_room.update_router_bias, []

    def interrupt_in_step_3(model, rate):
        update(model, rate)
        calls.append(rate)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(optim.train.model_room, "update_router_bias", interrupt_in_step_3)
    capfd.readouterr()
    assert optim.train.main(config, resume=False) == 130
    assert f"--config {config} --resume" in capfd.readouterr().out
    assert 3 <= len(calls) <= 4  # the stop is agreed on before a step's update
    assert optim.train.main(config, resume=True) == 0
    for name, value in weights(tmp_path / "export").items():
        assert torch.equal(value, whole[name]), name


def test_a_broken_line_of_training_data_is_named_and_nothing_starts(config, tmp_path, capfd):
    (tmp_path / "sets" / "spider").mkdir(parents=True)
    lines = [json.dumps({"id": "a", "question": "How many?", "db_id": "x", "sql": "SELECT 1"}), "{broken"]
    (tmp_path / "sets" / "spider" / "train.jsonl").write_text("\n".join(lines))
    assert optim.train.main(config, settings=[f"data.root={tmp_path}/sets", "data.spider=1"]) == 1
    error = capfd.readouterr().err
    assert "train.jsonl" in error
    assert "2" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.preset=giant", "there are base, k2, nano"),
        ("model.hidden=3", "hidden"),
        ("train.max_length=4096", "the model sees 1024 positions"),
        ("data.spidr=1", "unknown keys"),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(config, setting, message, capfd):
    assert optim.train.main(config, settings=[setting]) == 1
    assert message in capfd.readouterr().err


@pytest.mark.slow
def test_under_torchrun_two_ranks_train_the_same_model_as_one(config, tmp_path):
    assert optim.train.main(config) == 0
    alone = weights(tmp_path / "export")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "optim.train", "--config", str(config), "--fresh"]
    finished = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    for name, value in weights(tmp_path / "export").items():
        torch.testing.assert_close(value, alone[name], atol=2e-3, rtol=0.05)
