"""The end of our own log, for whoever asks why something failed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from proxy.answers import ProxyError, as_json

__all__ = ["Log", "router"]

_SIZE = 2000
_logger = logging.getLogger("rackrise.proxy")


@dataclass(frozen=True)
class _Line:
    timestamp: float
    level: str
    message: str


@dataclass
class Log:
    """A ring of the last lines; also passed on to Python's logging.

    Lines never hold query strings: those carry the tokens of builds.
    """

    now: Callable[[], float]
    """Seconds since the epoch."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why a feature does not work, by its name."""

    def __post_init__(self) -> None:
        self._lines: deque[_Line] = deque(maxlen=_SIZE)

    def info(self, message: str) -> None:
        """Keep a line about what happened."""
        self._lines.append(_Line(self.now(), "INFO", message))
        _logger.info("%s", message)

    def error(self, message: str) -> None:
        """Keep a line about what went wrong."""
        self._lines.append(_Line(self.now(), "ERROR", message))
        _logger.error("%s", message)

    def since(self, timestamp: float) -> list[dict[str, object]]:
        """The lines from a moment on, oldest first, as the API shows them."""
        return [
            {"timestamp": round(line.timestamp, 4), "level": line.level, "message": line.message}
            for line in self._lines
            if line.timestamp >= timestamp
        ]


def router(log: Log) -> APIRouter:
    """``GET /logs``."""
    routes = APIRouter()

    @routes.get("/logs")
    async def logs(request: Request) -> Response:
        try:
            since = float(request.query_params.get("from_timestamp") or 0)
        except ValueError as error:
            raise ProxyError(400, "from_timestamp must be seconds since the epoch") from error
        info: dict[str, object] = {"size": _SIZE, "tail_size": 0, "level": None, "level_tail": 3}
        info["failed_modules"] = dict(log.failed)
        return as_json({"info": info, "logs": log.since(since)})

    return routes
