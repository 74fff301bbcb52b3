"""A Kimi K2 style mixture-of-experts transformer, its tokenizer and its Hugging Face form."""

from model.attention import LatentAttention
from model.config import PRESETS, ModelConfig, ParameterCount, Yarn
from model.errors import ModelError
from model.hf import export, load, load_transformers
from model.moe import update_router_bias
from model.tokenizer import Tokenizer
from model.transformer import NO_TARGET, Transformer

__all__ = [
    "NO_TARGET",
    "PRESETS",
    "LatentAttention",
    "ModelConfig",
    "ModelError",
    "ParameterCount",
    "Tokenizer",
    "Transformer",
    "Yarn",
    "export",
    "load",
    "load_transformers",
    "update_router_bias",
]
