"""The configuration of a run: files, overrides, errors that say what is wrong where."""

import pytest

from optim import ConfigError
from optim.config import parse_config, read_config

FILE = """
[model]
preset = "tiny"
hidden_size = 32

[data]
demo = 100

[train]
steps = 1000
lr = 1e-3

[output]
run = "runs/one"
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_read_and_completed_with_defaults(path):
    config = read_config(path)
    assert (config.model.preset, config.model.overrides) == ("tiny", {"hidden_size": 32})
    assert config.data == {"demo": 100}
    assert (config.train.steps, config.train.lr, config.train.tau) == (1000, 1e-3, 100.0)
    assert parse_config(config.as_dict(), "itself") == config
    assert 'model.preset = "tiny"' in config.lines().splitlines()
    assert "train.tau = 100.0" in config.lines().splitlines()


def test_settings_override_the_file(path):
    config = read_config(
        path, ["train.steps=7", "output.run=elsewhere", "data.files=['a', 'b']", "model.preset=nano"]
    )
    assert config.train.steps == 7
    assert str(config.output.run) == "elsewhere"
    assert config.data == {"demo": 100, "files": ["a", "b"]}
    assert config.model.preset == "nano"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.lr=-1", r"train\.lr: .*greater than 0, found -1"),
        ("train.lrr=1", r"train\.lrr: Extra inputs are not permitted"),
        ("train.steps=many", r"train\.steps: .*found 'many'"),
        ("steps=1", r"not section\.key=value"),
        ("train.steps", r"not section\.key=value"),
        ("data.demo.x=1", "demo is a value, not a section"),
    ],
)
def test_a_wrong_setting_is_named(path, setting, message):
    with pytest.raises(ConfigError, match=message):
        read_config(path, [setting])


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        read_config(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("[train")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        read_config(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes('[output]\nrun = "Läufe"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.toml is not TOML, which is UTF-8: .*position 17"):
        read_config(tmp_path / "latin.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ConfigError, match=r"train: Field required"):
        read_config(tmp_path / "empty.toml")


def test_a_resumed_run_may_be_longer_or_shorter_until_the_decay_begins(path):
    old = read_config(path).as_dict()  # decays over the last fifth, from step 800
    longer = read_config(path, ["train.steps=2000"])
    assert "train.steps" in longer.free_on_resume(old, step=800)
    assert "train.steps" not in longer.free_on_resume(old, step=801)
    shorter = read_config(path, ["train.steps=500"])
    assert "train.steps" in shorter.free_on_resume(old, step=400)
    assert "train.steps" not in shorter.free_on_resume(old, step=401)
    assert "train.lr" not in longer.free_on_resume(old, step=1)
    assert "train.threads" in longer.free_on_resume(old, step=900)
