"""The training script on the demo's questions and the tiny model, from file to exported model."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import optim.run_data
import optim.train
from model import hf

FILE = """
[model]
preset = "tiny"
vocab_size = 700
max_position_embeddings = 1024

[data]
demo = 300

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
        ("model.hidden_sise=3", "model.hidden_sise: a model has no such field; did you mean hidden_size?"),
        ("train.warm_up=3", "train.warm_up: Extra inputs are not permitted, found 3; did you mean warmup?"),
        ("parallel.experts=2", "parallel.experts is 2, but this run has 1 process, which 2 does not divide"),
        ("train.max_length=4096", "the model sees 1024 positions"),
        ("data.spidr=1", "unknown keys"),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(config, setting, message, capfd):
    assert optim.train.main(config, settings=[setting]) == 1
    assert message in capfd.readouterr().err


def test_data_made_from_other_questions_or_code_is_made_anew_and_a_resumed_run_says_so(
    config, tmp_path, capfd, monkeypatch
):
    assert optim.train.main(config, settings=["train.steps=4"]) == 0
    made = list((tmp_path / "run").glob("data-*"))
    assert len(made) == 1
    resumed = {"resume": True, "settings": ["train.steps=4"]}
    assert optim.train.main(config, **resumed) == 0
    assert list((tmp_path / "run").glob("data-*")) == made
    assert "warning" not in capfd.readouterr().out
    monkeypatch.setattr("corpus.mixture.fingerprint", lambda data: "other code")
    assert optim.train.main(config, **resumed) == 0
    assert len(list((tmp_path / "run").glob("data-*"))) == 2
    assert "warning: " in capfd.readouterr().out


def test_a_run_that_starts_from_a_checkpoint_has_its_tokenizer_and_weights(config, tmp_path, capfd):
    assert optim.train.main(config) == 0
    first = tmp_path / "export"
    nothing_learned = ["train.steps=1", "train.lr=1e-30", "train.router_bias_rate=0", "train.eval_examples=0"]
    other_text = ["data.demo=60", "train.seed=9"]
    outputs = [f"output.run={tmp_path}/second", f"output.export={tmp_path}/second/export"]
    second = [f"model.start={first}", *nothing_learned, *other_text, *outputs]
    assert optim.train.main(config, settings=second) == 0
    for name, value in weights(tmp_path / "second" / "export").items():
        assert torch.equal(value, weights(first)[name]), name
    tokenizer = (first / "tokenizer.json").read_bytes()
    assert (tmp_path / "second" / "export" / "tokenizer.json").read_bytes() == tokenizer
    (data,) = (tmp_path / "second").glob("data-*")
    assert (data / "tokenizer.json").read_bytes() == tokenizer
    losses = [
        json.loads((tmp_path / run / "log.jsonl").read_text().splitlines()[0])["loss"]
        for run in ("run", "second")
    ]
    assert losses[1] < losses[0] - 0.1  # it begins where the first run ended

    (first / "tokenizer.json").write_bytes(tokenizer + b"\n")
    assert optim.train.main(config, resume=False, settings=second) == 0
    assert len(list((tmp_path / "second").glob("data-*"))) == 2

    capfd.readouterr()
    assert optim.train.main(config, resume=False, settings=[*second, "model.hidden_size=32"]) == 1
    error = capfd.readouterr().err
    assert "another shape than [model] says" in error
    assert "hidden_size: there 64, in [model] 32" in error
    (first / "tokenizer.json").unlink()
    assert optim.train.main(config, resume=False, settings=second) == 1
    assert "has no tokenizer that can be read" in capfd.readouterr().err


def test_a_start_that_is_not_there_is_said_before_data_are_made(config, tmp_path, capfd):
    assert optim.train.main(config, settings=[f"model.start={tmp_path}/nowhere"]) == 1
    assert "cannot read" in (error := capfd.readouterr().err)
    assert "nowhere/config.json" in error
    assert not (tmp_path / "run").exists()


def interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)


def test_stopped_while_data_are_made_a_run_leaves_nothing_and_starts_again(
    config, tmp_path, capfd, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(optim.run_data, "show_counts", interrupt)
        assert optim.train.main(config) == 130
    error = capfd.readouterr().err
    assert (
        f"before the first checkpoint; start again with\n  python -m optim.train --config {config}\n" in error
    )
    assert not (tmp_path / "run").exists()
    assert optim.train.main(config) == 0


def test_stopped_in_the_last_export_a_run_says_how_to_export_and_does(config, tmp_path, capfd, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(hf, "_write_weights", interrupt)
        assert optim.train.main(config) == 130
    error = capfd.readouterr().err
    assert "training is done, and the checkpoint of step 6 stands; to export it:" in error
    assert f"--config {config} --resume" in error
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.toml"}
    assert optim.train.main(config, resume=True) == 0
    interrupted = weights(tmp_path / "export")
    assert optim.train.main(config, resume=False) == 0
    for name, value in weights(tmp_path / "export").items():
        assert torch.equal(value, interrupted[name]), name


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
