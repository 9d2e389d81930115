"""An HTTP server on loopback, run in a thread: what the stand-ins for the Hub and for Comet have in common."""

from __future__ import annotations

import threading
import time
from typing import Any, Self

import uvicorn


class HttpServer:
    """The server: `with HttpServer() as server:` runs it. A subclass answers requests in `_app`."""

    def __init__(self) -> None:
        config = uvicorn.Config(
            self._app, host="127.0.0.1", port=0, interface="asgi3", log_level="error", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port: from then on nobody answers."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request (ASGI)."""
        raise NotImplementedError
