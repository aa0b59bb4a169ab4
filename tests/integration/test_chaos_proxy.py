"""The proxy of `make chaos` carries, holds back, and cuts within a packet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.chaos.proxy import LOOPBACK, Proxy

PACKET = b"x" * 1_000


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that sends back what it gets."""

    serving = set[asyncio.Task[None] | None]()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # cut
        finally:
            await closed(writer)

    async with await asyncio.start_server(echo, LOOPBACK, 0) as server:
        with Proxy("echo", server.sockets[0].getsockname()[1]) as proxy:
            yield proxy
        await asyncio.gather(*filter(None, serving))


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def read_on(reader: asyncio.StreamReader, received: bytearray) -> None:
    while not reader.at_eof():
        received += await reader.read(65_536)


async def test_it_carries_both_ways_and_holds_back(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    writer.write(PACKET)
    assert await reader.readexactly(len(PACKET)) == PACKET
    proxy.hold(0.5)
    await asyncio.sleep(0.05)
    before = asyncio.get_running_loop().time()
    writer.write(PACKET)
    assert await reader.readexactly(len(PACKET)) == PACKET
    assert asyncio.get_running_loop().time() - before > 0.3
    await closed(writer)


async def test_it_cuts_within_a_packet_and_lets_the_next_connection_through(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    writer.write(PACKET)
    await reader.readexactly(len(PACKET))
    proxy.cut(after=1_500)
    await asyncio.sleep(0.05)
    writer.write(PACKET)  # 1,000 go there, and 500 come back
    received = bytearray()
    with pytest.raises(ConnectionResetError):  # nobody says that it is over
        await read_on(reader, received)
    assert len(received) <= 500
    await closed(writer)
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    writer.write(PACKET)
    assert await reader.readexactly(len(PACKET)) == PACKET
    await closed(writer)
