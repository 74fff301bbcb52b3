"""MuonClip and a training loop, for any model with the doors of `optim.loop` and `optim.qkclip`."""

from optim.batches import Batcher
from optim.checkpoint import Checkpoints
from optim.dataset import DatasetBuilder, TokenDataset
from optim.ema import MovingAverage
from optim.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DiskFullError,
    DivergedError,
    OptimError,
)
from optim.hf_attention import ProjectedAttention, clippable_attentions
from optim.journal import Journal
from optim.loop import LoopSettings, Outcome, Trainable, train_loop
from optim.muonclip import MuonClip
from optim.newton_schulz import newton_schulz, newton_schulz_reference
from optim.qkclip import ClippableAttention, ClipStats, clip_attentions
from optim.schedule import lr_scale, wsd
from optim.sharding import GatherWhole, MatrixSharding
from optim.snapshot import Snapshot, read_checkpoint
from optim.split import parameter_table, split_parameters

__all__ = [
    "Batcher",
    "CheckpointError",
    "Checkpoints",
    "ClipStats",
    "ClippableAttention",
    "ConfigError",
    "DataError",
    "DatasetBuilder",
    "DiskFullError",
    "DivergedError",
    "GatherWhole",
    "Journal",
    "LoopSettings",
    "MatrixSharding",
    "MovingAverage",
    "MuonClip",
    "OptimError",
    "Outcome",
    "ProjectedAttention",
    "Snapshot",
    "TokenDataset",
    "Trainable",
    "clip_attentions",
    "clippable_attentions",
    "lr_scale",
    "newton_schulz",
    "newton_schulz_reference",
    "parameter_table",
    "read_checkpoint",
    "split_parameters",
    "train_loop",
    "wsd",
]
