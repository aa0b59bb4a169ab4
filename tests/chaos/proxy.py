"""A proxy that cuts connections in the middle of a packet, and holds them back."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK = 16_384  # bytes
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: a closed connection is reset, and not ended in order


@dataclass(eq=False, slots=True)
class _Connection:
    """Both ends of one; cut once it has carried `left` more bytes, None: never."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    left: int | None = None

    def let_through(self, chunk: bytes) -> bytes:
        """The part that is still carried."""
        if self.left is None:
            return chunk
        carried = chunk[: self.left]
        self.left -= len(carried)
        return carried

    def cut(self) -> None:
        """Reset both ends: nobody is told that it is over."""
        for writer in self.writers:
            if not writer.is_closing():
                connected = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Forwards a port of its own to another one on loopback, in a thread of its own."""

    name: str
    to: int
    port: int = 0
    _open: set[_Connection] = field(default_factory=set)
    _held_until: float = 0.0  # the loop's time
    _up: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True)
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def cut(self, after: int = 0) -> None:
        """Cut each connection that is open now once it has carried so many more bytes."""
        self._loop.call_soon_threadsafe(self._cut, after)

    def hold(self, seconds: float) -> None:
        """Carry nothing for so long; no connection is lost by it."""
        self._loop.call_soon_threadsafe(self._hold, seconds)

    def _cut(self, after: int) -> None:
        for connection in self._open:
            connection.left = after
            if not after:
                connection.cut()

    def _hold(self, seconds: float) -> None:
        self._held_until = self._loop.time() + seconds

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()
        self._cut(0)
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*carrying, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next round

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection(LOOPBACK, self.to)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection((writer, onward))
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._carry(connection, reader, onward), self._carry(connection, there, writer)
            )
        finally:
            connection.cut()
            self._open.discard(connection)

    async def _carry(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One direction, to its end; whichever ends first by being cut ends the other."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await asyncio.sleep(max(0.0, self._held_until - self._loop.time()))
                writer.write(connection.let_through(chunk))
                await writer.drain()
                if connection.left == 0:
                    break
            else:
                writer.write_eof()
                return
        connection.cut()
