"""One small HTTP request to a local service: is it healthy, do this one thing. Not a client."""

import base64
import http.client
import json
from typing import Any

from infra.local.addresses import LOOPBACK


def status(port: int, path: str) -> int | None:
    """The status of `GET path` on a loopback port; None when nothing answers."""
    return get(port, path)[0]


def get(port: int, path: str) -> tuple[int | None, str]:
    """(status, answer) of `GET path`; (None, "") when nothing answers."""
    try:
        return _request(port, "GET", path)
    except (OSError, http.client.HTTPException):
        return None, ""


def post(port: int, path: str, body: dict[str, Any], *, user: str, password: str) -> tuple[int, str]:
    """Send JSON with a name and password; returns (status, answer). Raises OSError when nothing answers."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    return _request(port, "POST", path, json.dumps(body), headers)


def _request(
    port: int, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
