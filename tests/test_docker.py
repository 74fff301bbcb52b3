"""What docker/ holds passes the linters that need no engine, and names only metrics that there are."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.gateway.metrics import Metrics

DOCKER = Path(__file__).resolve().parent.parent / "docker"
BIN = Path(sys.executable).parent


def run(*command: str) -> None:
    if not (BIN / command[0]).exists():
        pytest.skip(f"{command[0]} is not installed")
    found = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("file", sorted(path.name for path in DOCKER.glob("*.Dockerfile")))
def test_images(file: str) -> None:
    run("hadolint", str(DOCKER / file))


def test_compose() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DOCKER / "compose.yaml"))


def test_manifests() -> None:
    run("kubernetes-validate", "--strict", *map(str, sorted((DOCKER / "kubernetes").glob("*.yaml"))))


def test_no_password_has_a_default() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    secrets = re.findall(r"^\s+\w*PASSWORD: (.*)$", text, flags=re.MULTILINE)
    assert secrets
    assert all(":?" in value for value in secrets)


def test_the_dashboard_draws_metrics_that_there_are() -> None:
    board = json.loads((DOCKER / "grafana/dashboards/suresql.json").read_text())
    known = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    known |= {metric.name for metric in Metrics().registry.collect()}
    for panel in board["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"suresql_\w+", target["expr"]):
                plain = re.sub(r"_(total|bucket|count|sum)$", "", name)
                assert name in known or plain in known, name
