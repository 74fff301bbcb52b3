"""A checkpoint is whole or refused; a failed export leaves the former one standing."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TINY, seeded

from model import ModelError, Tokenizer, export, load, load_transformers


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    export(seeded(TINY), tokenizer, tmp_path / "nano", dtype=torch.float32, max_shard_size=300_000)
    return tmp_path / "nano"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_a_checkpoint_survives_the_round_trip(folder: Path) -> None:
    assert len(shards(folder)) > 1 and all(path.stat().st_size < 310_000 for path in shards(folder))
    model, _ = load(folder)
    expected = seeded(TINY).state_dict()
    assert model.config == TINY
    assert expected.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])


def test_a_tied_head_stays_tied(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, tie_word_embeddings=True)
    export(seeded(config), tokenizer, tmp_path / "out")
    model, _ = load(tmp_path / "out")
    assert model.lm_head.weight is model.embed_tokens.weight
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_an_export_replaces_the_former_one_and_keeps_a_readme(folder: Path, tokenizer: Tokenizer) -> None:
    (folder / "README.md").write_text("weights")
    export(seeded(TINY, seed=9), tokenizer, folder)
    assert [path.name for path in shards(folder)] == ["model.safetensors"]
    assert (folder / "README.md").read_text() == "weights"
    assert not (folder / "model.safetensors.index.json").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["nano"]
    load(folder)


def test_a_full_disk_leaves_the_former_checkpoint(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model.hf.save_file", full)
    with pytest.raises(ModelError, match="No space left on device"):
        export(seeded(TINY, seed=9), tokenizer, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["nano"]


def test_a_folder_of_something_else_is_not_overwritten(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ModelError, match="other than a checkpoint"):
        export(seeded(TINY), tokenizer, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_missing_shard_is_named(folder: Path) -> None:
    shards(folder)[1].unlink()
    with pytest.raises(ModelError, match="lacks the shards model-00002"):
        load(folder)


def test_a_truncated_shard_is_named(folder: Path) -> None:
    path = shards(folder)[0]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model-00001.*truncated"):
        load(folder)
    with pytest.raises(ModelError, match="transformers cannot load"):
        load_transformers(folder)


def test_missing_weights_are_named(folder: Path, tokenizer: Tokenizer) -> None:
    export(seeded(TINY), tokenizer, folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.experts.3.up_proj.weight"]
    del weights["model.norm.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks the weights model.layers.1.mlp.experts.3"):
        load(folder)
    with pytest.raises(ModelError, match=r"model.norm.weight"):
        load_transformers(folder)


def test_surplus_weights_are_named(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"does not call for: model.layers.1"):
        load(folder)
    with pytest.raises(ModelError, match="does not call for"):
        load_transformers(folder)


def test_a_kimi_k2_config_loads_without_random_experts(folder: Path) -> None:
    edit_config(folder, model_type="kimi_k2")
    experts = load_transformers(folder).model.layers[1].mlp.experts
    assert torch.equal(experts.down_proj, seeded(TINY).layers[1].mlp.experts.down_proj)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "llama"}, "'llama' model"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "'linear' rotary"),
        ({"moe_intermediate_size": 48}, "has the shape"),
    ],
)
def test_another_architecture_is_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=says):
        load(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*config.json"):
        load(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    small = dataclasses.replace(TINY, vocab_size=100)
    with pytest.raises(ModelError, match="vocab_size is 100"):
        export(seeded(small), tokenizer, tmp_path / "out")
    with pytest.raises(ModelError, match="set them alike"):
        export(seeded(dataclasses.replace(TINY, pad_token_id=9)), tokenizer, tmp_path / "out")
