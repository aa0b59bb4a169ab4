"""Serves /metrics for Prometheus and /health for whoever watches the process.

It answers from a thread of its own, so that a scrape is served while the event loop works.
"""

import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from infra.metrics_files import SharedMetrics
from lineage.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

READ_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Health:
    """`detail` says for each part how it is, without secrets."""

    ok: bool = True
    detail: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def serve(
    source: CollectorRegistry | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    health: Callable[[], Health] = Health,
) -> Iterator[str]:
    """Serve while the block runs; yields the address, e.g. `http://127.0.0.1:9464`.

    `source` is the directory that processes share, or this process's own registry. `health` is asked at
    every request, in the server's thread. Raises SettingsError when the address cannot be had.
    """
    registry = SharedMetrics(source).registry() if isinstance(source, Path) else source
    server = _bind(host, port, _application(registry, health))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(registry: CollectorRegistry, health: Callable[[], Health]) -> "WSGIApplication":
    metrics = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return _steadily(metrics, environ, start)
        if path == "/health":
            found = health()
            body = json.dumps({"ok": found.ok, **found.detail}).encode()
            status = "200 OK" if found.ok else "503 Service Unavailable"
            start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"There is /metrics and /health.\n"]

    return answer


def _steadily(
    metrics: "WSGIApplication", environ: "WSGIEnvironment", start: "StartResponse"
) -> Iterable[bytes]:
    """Read again when a process was just creating its file, which has no header yet."""
    for _ in range(READ_ATTEMPTS - 1):
        try:
            return metrics(environ, start)
        except (struct.error, FileNotFoundError):
            continue
    return metrics(environ, start)


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for one request; a silent client must not hold a thread

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line per scrape helps nobody."""


class _V6Server(ThreadingWSGIServer):
    address_family = socket.AF_INET6


def _bind(host: str, port: int, application: "WSGIApplication") -> WSGIServer:
    family = _V6Server if ":" in host else ThreadingWSGIServer
    try:
        return make_server(host, port, application, family, _Quiet)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be served on {host}:{port} ({error.strerror or error}): "
            "set HEADWATER_METRICS_HOST or HEADWATER_METRICS_PORT; HEADWATER_METRICS_PORT=0 takes a free one."
        ) from error
