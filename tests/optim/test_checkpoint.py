"""Checkpoints: whole or not there, and what a full disk, a torn file or another configuration does."""

import hashlib
import random
import resource
import subprocess

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
    checkpoints.wait()
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
    checkpoints.wait()
    assert checkpoints.last_step() == 12


def assert_full(checkpoints, parts):
    with pytest.raises(DiskFullError, match=r"no room.*step 2.*last good checkpoint is step-00000001"):
        checkpoints.save(2, CONFIG, parts)
        checkpoints.wait()
    assert names(checkpoints) == ["step-00000001"]
    assert checkpoints.load().step == 1


@pytest.mark.parametrize("limit", [100, 4096])
def test_a_full_disk_is_said_and_the_last_good_checkpoint_stands(checkpoints, parts, limit):
    checkpoints.save(1, CONFIG, parts).result()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # writes beyond it fail with EFBIG
    try:
        assert_full(checkpoints, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_error_of_a_save_comes_with_the_next_one(checkpoints, parts):
    checkpoints.save(1, CONFIG, parts).result()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        pending = checkpoints.save(2, CONFIG, parts)
        assert pending.exception() is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(DiskFullError, match=r"no room.*step 2"):
        checkpoints.save(3, CONFIG, parts)
    assert checkpoints.save(3, CONFIG, parts).result().name.startswith("step-00000003")


@pytest.mark.parametrize("kilobytes", [16, 24, 32, 40])
def test_on_a_device_without_space_the_same(tmp_path, parts, kilobytes):
    """A checkpoint of these parts takes 28 kB: one fits, the second does not, whichever of its files is the one too many."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes + 40}k", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs root's rights to mount one")
    try:
        checkpoints = Checkpoints(place / "run")
        checkpoints.save(1, CONFIG, parts).result()
        assert_full(checkpoints, parts)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_folder_that_cannot_be_written_is_said(tmp_path, parts):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        Checkpoints(tmp_path / "file" / "run").save(1, CONFIG, parts).result()


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["__0_0.distcp", ".metadata", "rest.pt", "manifest.json"])
@pytest.mark.parametrize("damage", [damage_truncate, damage_flip])
def test_a_damaged_checkpoint_is_detected_and_the_one_before_is_taken(checkpoints, parts, damage, file):
    checkpoints.save(1, CONFIG, parts)
    damage(checkpoints.save(2, CONFIG, parts).result() / file)
    with pytest.warns(UserWarning, match=r"(?s)step-00000002.*is damaged.*trying the one before"):
        assert checkpoints.load().step == 1
    damage(checkpoints.paths()[0] / file)
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match=r"every checkpoint.*--fresh"):
        checkpoints.load()


def test_an_interrupted_write_is_no_checkpoint(checkpoints, parts):
    checkpoints.save(1, CONFIG, parts)
    checkpoints.wait()
    half = checkpoints.folder / f"step-00000002{TEMPORARY}"
    half.mkdir()
    (half / "__0_0.distcp").write_bytes(b"half")
    assert checkpoints.load().step == 1
    assert names(checkpoints) == ["step-00000001"]
    checkpoints.clear()
    assert names(checkpoints) == []


def test_a_save_is_of_the_moment_it_was_asked_for(checkpoints, parts):
    saved = parts["model"].weight.detach().clone()
    checkpoints.save(1, CONFIG, parts)
    with torch.no_grad():
        parts["model"].weight.add_(1)
    checkpoints.load().restore(parts)
    assert torch.equal(parts["model"].weight, saved)


def test_a_checkpoint_of_other_shapes_is_refused_with_what_differs(checkpoints, parts):
    checkpoints.save(1, CONFIG, parts)
    other = torch.nn.Linear(41, 30)
    optimizer = torch.optim.AdamW(other.parameters())
    before = other.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"model\.weight: there \[30, 40\], here \[30, 41\]"):
        checkpoints.load().restore({"model": other, "optimizer": optimizer})
    assert torch.equal(other.weight, before)


def test_a_checkpoint_of_one_file_as_they_were_once_is_still_read(checkpoints, parts):
    random.seed(5)
    content = {
        "step": 4,
        "config": CONFIG,
        "states": {name: part.state_dict() for name, part in parts.items()},
        "rng": {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": []},
    }
    checkpoints.folder.mkdir()
    written = checkpoints.folder / "written"
    torch.save(content, written)
    digest = hashlib.sha256(written.read_bytes()).hexdigest()[:16]
    written.rename(checkpoints.folder / f"step-00000004.{digest}.pt")
    saved = parts["model"].weight.detach().clone()
    with torch.no_grad():
        parts["model"].weight.zero_()
    snapshot = checkpoints.load()
    assert snapshot.step == 4
    snapshot.restore(parts)
    assert torch.equal(parts["model"].weight, saved)
    for step in (5, 6):
        checkpoints.save(step, CONFIG, parts)
    checkpoints.wait()
    assert names(checkpoints) == ["step-00000005", "step-00000006"]


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
