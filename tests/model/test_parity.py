"""Our model and transformers' DeepseekV3ForCausalLM are one function of a checkpoint, in both directions."""

from pathlib import Path

import torch
from tiny_models import TINY, seeded, tokens
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from model import ModelConfig, Tokenizer, export, load, load_transformers
from model.hf import hf_config


@torch.no_grad()
def test_transformers_computes_our_logits(shape: ModelConfig, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = seeded(shape)
    export(model, tokenizer, tmp_path / "out", dtype=torch.float32)
    batch = tokens(shape)
    theirs = load_transformers(tmp_path / "out")(batch).logits
    ours = model.logits(model(batch))
    assert theirs.abs().max() > 0.5
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@torch.no_grad()
def test_we_compute_the_logits_of_transformers(
    shape: ModelConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    theirs = DeepseekV3ForCausalLM(DeepseekV3Config(**hf_config(shape))).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="200KB")
    tokenizer.save(tmp_path)
    ours, _ = load(tmp_path)
    batch = tokens(shape)
    assert ours.config == shape
    torch.testing.assert_close(ours.logits(ours(batch)), theirs(batch).logits, atol=1e-4, rtol=0)


def test_the_gradient_is_transformers_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = seeded(TINY)
    export(model, tokenizer, tmp_path / "out", dtype=torch.float32)
    theirs = load_transformers(tmp_path / "out")
    batch = tokens(TINY)
    targets = torch.where(torch.rand(batch.shape) < 0.5, batch, -100)
    loss, count = model.loss(batch[:, :-1], targets[:, 1:])
    loss.backward()
    expected = theirs(batch, labels=targets).loss
    expected.backward()
    assert count == int((targets[:, 1:] != -100).sum())
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    layer, their_layer = model.layers[1], theirs.model.layers[1]
    gate_up = torch.cat([layer.mlp.experts.gate_proj.grad, layer.mlp.experts.up_proj.grad], dim=1)
    pairs = [
        (gate_up, their_layer.mlp.experts.gate_up_proj.grad),
        (layer.mlp.experts.down_proj.grad, their_layer.mlp.experts.down_proj.grad),
        (layer.mlp.gate.weight.grad, their_layer.mlp.gate.weight.grad),
        (layer.self_attn.q_proj.weight.grad, their_layer.self_attn.q_proj.weight.grad),
        (layer.self_attn.kv_b_proj.weight.grad, their_layer.self_attn.kv_b_proj.weight.grad),
        (
            layer.self_attn.kv_a_proj_with_mqa.weight.grad,
            their_layer.self_attn.kv_a_proj_with_mqa.weight.grad,
        ),
        (layer.input_layernorm.weight.grad, their_layer.input_layernorm.weight.grad),
        (model.lm_head.weight.grad, theirs.lm_head.weight.grad),
        (model.embed_tokens.weight.grad, theirs.model.embed_tokens.weight.grad),
    ]
    for ours, their in pairs:
        assert their.abs().max() > 1e-4
        torch.testing.assert_close(ours, their, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_bfloat16_export_differs_only_by_rounding(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = seeded(TINY)
    export(model, tokenizer, tmp_path / "out")
    rounded, _ = load(tmp_path / "out")
    for name, tensor in model.state_dict().items():
        expected = tensor if name.endswith("bias") else tensor.to(torch.bfloat16).float()
        assert torch.equal(rounded.state_dict()[name], expected), name
