"""The service on a port, for tests that speak HTTP to it."""

import socket
import threading

import uvicorn

from serving.app import create_app
from serving.assembly import load_pipeline
from serving.settings import Settings


class Server:
    """The real thing on a free port, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings, load_pipeline)
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_level="error", timeout_graceful_shutdown=5)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]})
        self._thread.start()
        while not (self._server.started and self.app.state.service.ready):
            assert self._thread.is_alive()
            assert self.app.state.service.failure is None if self._server.started else True
            threading.Event().wait(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
