"""A Comet server on loopback: the handshake, and a record of everything that arrives."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.http_server import HttpServer

_INVALID_KEY, _EXISTS = 90212, 90999


@dataclass
class Experiment:
    """What the server knows of one experiment."""

    created: int = 0
    continued: int = 0
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class CometStandIn(HttpServer):
    """The server: `with CometStandIn("a good key") as comet:` runs it in a thread."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.experiments: dict[str, Experiment] = {}
        self.bodies: list[tuple[str, Any]] = []
        """Path and decoded body of every request."""
        self.hang = False
        """Take requests and never answer."""

    @property
    def url(self) -> str:
        """What COMET_URL_OVERRIDE is to be."""
        return f"http://127.0.0.1:{self.port}/clientlib/"

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = _decoded(request, await request.body())
        path = request.url.path
        self.bodies.append((path, body))
        while self.hang and not self._server.should_exit:
            await asyncio.sleep(0.05)
        await self._answer(path, body)(scope, receive, send)

    def _answer(self, path: str, body: Any) -> Response:
        if path.endswith("/isAlive/ver"):
            return JSONResponse({"version": "4.0.0"})
        if path.endswith(("/logger/add/run", "/logger/get/run")):
            return self._handshake(path, body)
        if path.endswith("/batch/logger/experiment/metric"):
            for value in body["values"]:
                points = self._of(body).metrics.setdefault(value["metricName"], [])
                points.append((value["step"], float(value["metricValue"])))
        if path.endswith("/batch/logger/experiment/parameter"):
            self._of(body).parameters |= {v["parameterName"]: v["parameterValue"] for v in body["values"]}
        if path.endswith("/status-report/update"):
            return JSONResponse({"is_alive_beat_duration_millis": 1000, "gpu_monitor_interval_millis": 60000})
        return JSONResponse({})

    def _handshake(self, path: str, body: Any) -> Response:
        if body["apiKey"] != self.key:
            return JSONResponse({"sdk_error_code": _INVALID_KEY, "msg": "no such key"}, 400)
        key = body.get("experimentKey") or body["previousExperiment"]
        known = self.experiments.get(key)
        if path.endswith("/add/run") and known and not body["getOrCreateEnabled"]:
            return JSONResponse({"sdk_error_code": _EXISTS, "msg": "exists"}, 400)
        experiment = self.experiments.setdefault(key, Experiment())
        experiment.created += known is None
        experiment.continued += path.endswith("/get/run")
        link = self.url.replace("clientlib/", "me/twin/")
        return JSONResponse({"runId": "r", "project_id": "p", "focusUrl": link, "lastOffset": 0, "featureToggles": []})

    def _of(self, body: Any) -> Experiment:
        return self.experiments[body["experimentKey"]]


def _decoded(request: Request, body: bytes) -> Any:
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    try:
        return json.loads(body or b"null")
    except ValueError:
        return body.decode(errors="replace")
