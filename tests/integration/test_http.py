"""HTTP to a server that closes idle connections, as a robot's does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from uvicorn import Config

from infra import http
from infra.http import http_client
from lineage.errors import UnavailableError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that answers once on a connection, and closes it when it is asked again."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(once, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_connection_that_was_idle_is_not_used_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "IDLE", 0.0)
    async with http_client("robot", url, headers={}) as client:
        for _ in range(2):
            assert (await client.get("/runs")).body == b"{}"
            await asyncio.sleep(0.01)
    monkeypatch.setattr(http, "IDLE", 60.0)
    async with http_client("robot", url, headers={}) as client:
        await client.get("/runs")
        with pytest.raises(UnavailableError):
            await client.get("/runs")


def test_a_connection_is_not_used_again_by_the_time_a_robots_server_closes_it() -> None:
    """An OT-2's server is uvicorn as it comes. A second is left for the way: each side has its own clock."""
    assert 0 < http.IDLE <= Config(app="").timeout_keep_alive - 1
