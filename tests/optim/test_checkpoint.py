"""Checkpoints: whole or not there, and what a full disk, a torn file or another configuration does."""

import random
import resource

import pytest
import torch

from optim import CheckpointError, Checkpoints, ConfigError, DiskFullError
from optim.checkpoint import TEMPORARY

CONFIG = {"train": {"lr": 0.1, "steps": 5}, "data": {"files": ["a"]}}


@pytest.fixture
def parts():
    model = torch.nn.Linear(40, 30)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 40)).sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run")


def names(checkpoints):
    return sorted(path.name.split(".")[0] for path in checkpoints.folder.iterdir())


def test_what_was_saved_comes_back(checkpoints, parts):
    random.seed(5)
    torch.manual_seed(5)
    checkpoints.save(7, CONFIG, parts)
    drawn = random.random(), torch.rand(3)
    saved = {name: tensor.clone() for name, tensor in parts["model"].state_dict().items()}
    with torch.no_grad():
        parts["model"].weight.zero_()
    snapshot = checkpoints.load()
    assert snapshot is not None
    assert (snapshot.step, snapshot.config) == (7, CONFIG)
    snapshot.restore(parts)
    for name, tensor in saved.items():
        assert torch.equal(parts["model"].state_dict()[name], tensor)
    assert random.random() == drawn[0]
    assert torch.equal(torch.rand(3), drawn[1])


def test_the_last_two_are_kept(checkpoints, parts):
    for step in (1, 20, 300, 4000):
        checkpoints.save(step, CONFIG, parts)
    assert names(checkpoints) == ["step-00000300", "step-00004000"]


def test_saving_the_same_step_again_keeps_one_before_it(checkpoints, parts):
    for step in (1, 2, 2):
        checkpoints.save(step, CONFIG, parts)
    assert checkpoints.load().step == 2


def test_no_checkpoint_is_no_error(checkpoints):
    assert checkpoints.load() is None
    assert checkpoints.paths() == []


def test_the_last_step_is_that_of_the_newest_checkpoint(checkpoints, parts):
    assert checkpoints.last_step() is None
    for step in (7, 12):
        checkpoints.save(step, {}, parts)
    assert checkpoints.last_step() == 12


@pytest.mark.parametrize("device_full", [True, False], ids=["no space on device", "file size limit"])
def test_a_full_disk_is_said_and_the_last_good_checkpoint_stands(checkpoints, parts, device_full):
    checkpoints.save(1, CONFIG, parts)
    if device_full:  # writes to /dev/full fail with ENOSPC
        (checkpoints.folder / f"step-00000002{TEMPORARY}").symlink_to("/dev/full")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if device_full else 4096, before[1]))
    try:
        with pytest.raises(DiskFullError, match=r"no room.*step 2.*last good checkpoint is step-00000001"):
            checkpoints.save(2, CONFIG, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(checkpoints) == ["step-00000001"]
    assert checkpoints.load().step == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path, parts):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        Checkpoints(tmp_path / "file" / "run").save(1, CONFIG, parts)


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip])
def test_a_damaged_checkpoint_is_detected_and_the_one_before_is_taken(checkpoints, parts, damage):
    checkpoints.save(1, CONFIG, parts)
    damage(checkpoints.save(2, CONFIG, parts))
    with pytest.warns(UserWarning, match=r"step-00000002.*is damaged.*trying the one before"):
        assert checkpoints.load().step == 1
    damage(checkpoints.paths()[0])
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match=r"every checkpoint.*--fresh"):
        checkpoints.load()


def test_an_interrupted_write_is_no_checkpoint(checkpoints, parts):
    checkpoints.save(1, CONFIG, parts)
    (checkpoints.folder / f"step-00000002{TEMPORARY}").write_bytes(b"half")
    assert checkpoints.load().step == 1
    checkpoints.clear()
    assert names(checkpoints) == []


def test_another_configuration_is_refused_with_the_keys_that_differ(checkpoints, parts):
    checkpoints.save(1, CONFIG, parts)
    snapshot = checkpoints.load()
    snapshot.refuse_other_config(CONFIG)
    other = {"train": {"lr": 0.2, "steps": 9, "tau": 1}, "data": {"files": ["a"]}}
    with pytest.raises(ConfigError) as error:
        snapshot.refuse_other_config(other, free=frozenset({"train.steps"}))
    assert "train.lr: checkpoint 0.1, now 0.2" in str(error.value)
    assert "train.tau: checkpoint '(absent)', now 1" in str(error.value)
    assert "train.steps" not in str(error.value)
    assert "data.files" not in str(error.value)


def test_a_checkpoint_of_other_parts_is_refused(checkpoints, parts):
    checkpoints.save(1, CONFIG, {"model": parts["model"]})
    with pytest.raises(CheckpointError, match=r"holds \['model'\].*needs \['model', 'optimizer'\]"):
        checkpoints.load().restore(parts)
