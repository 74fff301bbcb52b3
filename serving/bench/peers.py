"""Runs `peer_scores.py` with a Python that has uqlm and lm-polygraph: they bring their own versions of what we use."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlconf.embedding import minilm_folder

PROGRAM = Path(__file__).with_name("peer_scores.py")
INSTALL = "python -m venv PEERS && PEERS/bin/pip install torch==2.13.0 'uqlm>=0.6,<0.7' 'lm-polygraph>=0.7,<0.8' 'pyarrow<22'"
TIMEOUT_S = 1_800


@dataclass(frozen=True)
class Peers:
    """Scores by name, one for each answer, higher being surer; what was not to be had, with the reason."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def peer_scores(python: Path | None, answers: Sequence[Mapping[str, Any]]) -> Peers:
    """Never raises: peers that do not run are missing, and the figures without them say so."""
    if python is None:
        return Peers(missing={"uqlm, lm-polygraph": f"SURESQL_PEERS_PYTHON is not set; {INSTALL}"})
    if not answers:
        return Peers(missing={"uqlm, lm-polygraph": "no answer has samples and alternatives to score"})
    try:
        done = subprocess.run(
            [str(python), str(PROGRAM), str(minilm_folder())],
            input="".join(json.dumps(one) + "\n" for one in answers),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        )
        if done.returncode:
            return Peers(missing={"uqlm, lm-polygraph": f"{python} failed: {done.stderr[-300:]}"})
        return Peers(**json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, TypeError, IndexError, subprocess.TimeoutExpired) as error:
        return Peers(missing={"uqlm, lm-polygraph": f"{python} did not answer: {error}"})
