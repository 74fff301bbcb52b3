"""The service does what its OpenAPI description says, whatever is sent: schemathesis makes the requests."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from serving.app import create_app
from serving.assembly import load_pipeline
from serving.settings import Settings

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)


@pytest.fixture(scope="module")
def address(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real application, on a real port, with a tiny model."""
    settings = Settings(
        checkpoint=checkpoint,
        home=tmp_path_factory.mktemp("home"),
        candidates=2,
        max_tokens=8,
        sql_timeout_s=0.5,
        threads=1,
        queue=1_000,
    )
    app = create_app(settings, load_pipeline)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


def test_every_error_is_described_in_the_shape_it_has(settings: Settings) -> None:
    described = create_app(settings, load_pipeline).openapi()
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for operations in described["paths"].values():
        for operation in operations.values():
            content = operation["responses"]["4XX"]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.slow
def test_what_is_answered_is_what_is_described(address: str, tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    ran = subprocess.run(
        [
            schemathesis, "run", f"{address}/openapi.json", "--wait-for-schema", "60", "--max-examples", "25",
            "--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--continue-on-failure",
            "--request-timeout", "60", "--generation-deterministic", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]
    generated = re.search(r"(\d+) generated", ran.stdout)
    assert generated is not None
    assert int(generated[1]) > 100
