"""Checkpoints on disk in Hugging Face's form, under DeepSeek's names: vLLM and transformers read them.

transformers leaves routed experts random where a config says `kimi_k2` and only prints a report (5.19), hence
`load_transformers`, which lets nothing pass.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import ModelConfig, Yarn
from model.errors import ModelError
from model.moe import Experts
from model.tokenizer import Tokenizer
from model.transformer import Transformer

if TYPE_CHECKING:
    from transformers import DeepseekV3ForCausalLM

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
_FIXED = {  # what this architecture leaves no choice about
    "hidden_act": "silu",
    "attention_bias": False,
    "rope_interleave": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "moe_layer_freq": 1,
}


def export(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: str | Path,
    dtype: torch.dtype = torch.bfloat16,
    max_shard_size: int = 4 * 2**30,
) -> None:
    """Write config, weights and tokenizer to folder, replacing a checkpoint that stands there.

    Everything is written beside it first and then renamed, so that a failure (a full disk: ModelError) leaves
    the former checkpoint as it was. max_shard_size is in bytes. The router's bias stays float32.
    """
    folder = Path(folder).resolve()
    _check_agreement(model.config, tokenizer)
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file()
    ):
        raise ModelError(f"{folder} holds something other than a checkpoint; give a new or empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workplace:
            written = Path(workplace) / "new"
            written.mkdir()
            _write_json(written / "config.json", hf_config(model.config, dtype))
            _write_json(written / "generation_config.json", _generation_config(model.config))
            tokenizer.save(written)
            _write_weights(model, written, dtype, max_shard_size)
            if folder.exists():
                _keep_strangers(folder, written)
                folder.rename(Path(workplace) / "former")
            try:
                written.rename(folder)
            except BaseException:  # Ctrl-C between the two renames too
                (Path(workplace) / "former").rename(folder)
                raise
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot write the checkpoint {folder}: {error}; what stood there before still does. "
            "Free some space or choose another folder, and export again"
        ) from error


def load(folder: str | Path, dtype: torch.dtype = torch.float32) -> tuple[Transformer, Tokenizer]:
    """Read a checkpoint, ours or one of transformers' DeepseekV3ForCausalLM with a tokenizer of ours."""
    folder = Path(folder)
    config = read_config(folder)
    with torch.device("meta"):
        model = Transformer(config).to(dtype)
    model.to_empty(device="cpu")
    if config.tie_word_embeddings:
        model.lm_head.weight = model.embed_tokens.weight
    for name, buffer in model.named_buffers():
        if name.endswith(("e_score_correction_bias", "load_E")):
            buffer.data = torch.zeros_like(buffer, dtype=torch.float32)
    places = dict(_named_weights(model))
    files = _files_of(folder, set(places))
    for path, names in files.items():
        try:
            with safe_open(path, framework="pt") as stored:
                for name in names:
                    _fill(places[name], stored.get_tensor(name), name, path)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{path} is not readable ({error}); it is truncated or damaged: copy it again"
            ) from error
    return model.eval(), Tokenizer.load(folder)


def load_transformers(folder: str | Path, dtype: torch.dtype = torch.float32) -> DeepseekV3ForCausalLM:
    """The checkpoint as transformers' own class; ModelError names weights not accounted for."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM  # here, for it takes seconds

    folder = Path(folder)
    with torch.device("meta"):
        _files_of(folder, {name for name, _ in _named_weights(Transformer(read_config(folder)))})
    fields = {
        name: value for name, value in _read_json(folder / "config.json").items() if name != "model_type"
    }
    try:
        loaded: Any = DeepseekV3ForCausalLM.from_pretrained(
            folder, config=DeepseekV3Config(**fields), dtype=dtype, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"transformers cannot load {folder}: {error}; export the model again") from error
    model, report = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            raise ModelError(
                f"transformers loads {folder} with {kind.replace('_', ' ')}, whose weights would be random: "
                f"{_some(report[kind])}; export the model again with model.hf.export"
            )
    return model.eval()


def hf_config(config: ModelConfig, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """config.json of a DeepseekV3ForCausalLM."""
    fields = config.to_json()
    if config.rope_scaling is not None:
        fields["rope_scaling"] = {"type": "yarn", **fields["rope_scaling"]}
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "dtype": str(dtype).removeprefix("torch."),
        **fields,
        **_FIXED,
        "num_key_value_heads": config.num_attention_heads,
        "num_nextn_predict_layers": 0,
        "use_cache": True,
    }


def read_config(folder: str | Path) -> ModelConfig:
    """The shape of a checkpoint; ModelError for another architecture or an option not supported."""
    path = Path(folder) / "config.json"
    fields = _read_json(path)
    if fields.get("model_type") not in ("deepseek_v3", "kimi_k2"):
        raise ModelError(
            f"{path} describes a {fields.get('model_type')!r} model; this package reads 'deepseek_v3' "
            "and 'kimi_k2': give a folder that model.hf.export wrote"
        )
    for name, value in {**_FIXED, "quantization_config": None}.items():
        if fields.get(name, value) != value:
            raise ModelError(f"{path} says {name}={fields[name]!r}; this package knows {value!r} only")
    rope = {**(fields.get("rope_scaling") or {}), **(fields.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "yarn"):
        raise ModelError(
            f"{path} asks for {kind!r} rotary positions; this package knows 'default' and 'yarn'"
        )
    known = {name: fields[name] for name in ModelConfig.__dataclass_fields__ if name in fields}
    known |= {name: fields.get(name) for name in _TOKEN_IDS}  # absent means none, not our tokenizer's
    known["rope_theta"] = rope.get("rope_theta", fields.get("rope_theta", 10_000.0))
    names = [name for name in Yarn.__dataclass_fields__ if name in rope]
    known["rope_scaling"] = {name: rope[name] for name in names} if kind == "yarn" else None
    return ModelConfig.from_json(known)


def _named_weights(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the checkpoint under DeepSeek's name, as a view into the model."""
    for prefix, module in model.named_modules():
        if isinstance(module, Experts):
            for matrix, stacked_Exx in module.named_parameters():
                for e, one in enumerate(stacked_Exx.detach()):
                    yield f"model.{prefix}.{e}.{matrix}.weight", one
            continue
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if name == "load_E" or (prefix == "lm_head" and model.config.tie_word_embeddings):
                continue
            full = f"{prefix}.{name}"
            yield full if prefix == "lm_head" else f"model.{full}", tensor.detach()


def _write_weights(model: Transformer, folder: Path, dtype: torch.dtype, max_shard_size: int) -> None:
    shards: list[list[tuple[str, Tensor, torch.dtype]]] = [[]]
    size = total = 0
    for name, tensor in _named_weights(model):
        kind = torch.float32 if name.endswith("e_score_correction_bias") else dtype
        length = tensor.numel() * kind.itemsize
        if shards[-1] and size + length > max_shard_size:
            shards.append([])
            size = 0
        shards[-1].append((name, tensor, kind))
        size, total = size + length, total + length
    index = {}
    for number, shard in enumerate(shards, start=1):
        file = _SINGLE if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {name: tensor.to("cpu", kind).contiguous() for name, tensor, kind in shard}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, file))
    if len(shards) > 1:
        _write_json(folder / _INDEX, {"metadata": {"total_size": total}, "weight_map": index})


def _files_of(folder: Path, expected: set[str]) -> dict[Path, list[str]]:
    """Which file holds which weight; every expected one, and no other."""
    if (folder / _INDEX).is_file():
        where = {name: folder / file for name, file in _read_json(folder / _INDEX)["weight_map"].items()}
    elif (folder / _SINGLE).is_file():
        try:
            with safe_open(folder / _SINGLE, framework="pt") as stored:
                where = dict.fromkeys(stored.keys(), folder / _SINGLE)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{folder / _SINGLE} is not readable ({error}); it is truncated or damaged: copy it again"
            ) from error
    else:
        raise ModelError(
            f"{folder} holds neither {_SINGLE} nor {_INDEX}; the weights are missing: copy them again"
        )
    if absent := {path.name for path in where.values() if not path.is_file()}:
        raise ModelError(f"{folder} lacks the shards {_some(absent)} that {_INDEX} lists; copy them again")
    if missing := expected - set(where):
        raise ModelError(f"{folder} lacks the weights {_some(missing)}; does its config.json belong to it?")
    if unknown := set(where) - expected:
        raise ModelError(f"{folder} has weights that its config.json does not call for: {_some(unknown)}")
    files: dict[Path, list[str]] = {}
    for name, path in where.items():
        files.setdefault(path, []).append(name)
    return files


def _fill(place: Tensor, stored: Tensor, name: str, path: Path) -> None:
    if place.shape != stored.shape:
        raise ModelError(
            f"{name} in {path} has the shape {list(stored.shape)}, config.json calls for "
            f"{list(place.shape)}; the two do not belong together"
        )
    place.copy_(stored)


def _check_agreement(config: ModelConfig, tokenizer: Tokenizer) -> None:
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens, the model's vocab_size is {config.vocab_size}; "
            "they do not belong together"
        )
    theirs = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)
    ours = tuple(getattr(config, name) for name in _TOKEN_IDS)
    if theirs != ours:
        raise ModelError(
            f"pad, bos and eos are {ours} in the model's config and {theirs} in the tokenizer; set them alike"
        )


def _generation_config(config: ModelConfig) -> dict[str, Any]:
    return {"do_sample": False} | {name: getattr(config, name) for name in _TOKEN_IDS}


def _keep_strangers(former: Path, new: Path) -> None:
    """Carry a README and the like over; weights and what the new checkpoint has are not carried."""
    for path in former.iterdir():
        weights = re.search(r"\.safetensors(\.index\.json)?$", path.name)
        if path.is_file() and not weights and not (new / path.name).exists():
            shutil.copy2(path, new / path.name)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read {path}: {error}; a checkpoint folder as model.hf.export writes it has one"
        ) from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _some(names: Any) -> str:
    shown = sorted(map(str, names))
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
