"""Brokers to break: with and without memory, with access rules, behind a proxy that cuts and records."""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest


class Mosquitto:
    """A Mosquitto on a free loopback port that can be stopped, killed and started again."""

    def __init__(self, directory: Path, extra: str, persistence: bool, listener: str) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = directory / "mosquitto.conf"
        self._database = directory / "mosquitto.db"
        lines = [f"listener {self.port} 127.0.0.1", listener, "user root"]
        if "max_queued_messages" not in extra:
            lines.append("max_queued_messages 0")
        if "max_inflight_messages" not in extra:
            lines.append("max_inflight_messages 60000")
        if "allow_anonymous" not in extra:
            lines.append("allow_anonymous true")
        if persistence:
            lines += ["persistence true", f"persistence_location {directory}/"]
        self._configuration.write_text("\n".join([*lines, extra, ""]))

    def start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen([program, "-c", str(self._configuration)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            if self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError("mosquitto did not start")

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(10)
            self._process = None

    def save(self) -> None:
        """Have it write its sessions and messages to disk, as it does every half hour."""
        assert self._process is not None
        self._database.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        for _ in range(200):
            if self._database.exists():
                return
            time.sleep(0.05)
        raise RuntimeError("mosquitto did not save its state")

    def _answers(self) -> bool:
        with closing(socket.socket()) as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    brokers: list[Mosquitto] = []

    def make(extra: str = "", *, persistence: bool = False, listener: str = "") -> Mosquitto:
        directory = tmp_path / f"mosquitto {len(brokers)}"
        directory.mkdir()
        brokers.append(Mosquitto(directory, extra, persistence, listener))
        brokers[-1].start()
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def mosquitto(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return make_mosquitto(persistence=True)


class Proxy:
    """Stands between client and broker: passes so many bytes at a time, and keeps what the client sent."""

    def __init__(self, port: int) -> None:
        self.piece = 1 << 16
        self.sent: list[bytes] = []  # what the client sent, one entry per connection
        self.url = ""
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, broker_writer]
        number = len(self.sent)
        self.sent.append(b"")
        await asyncio.gather(
            self._pump(reader, broker_writer, number), self._pump(broker_reader, writer, None)
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int | None
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if number is not None:
                    self.sent[number] += data
                for start in range(0, len(data), self.piece):
                    writer.write(data[start : start + self.piece])
                    await writer.drain()
                    if self.piece < 1 << 16:
                        await asyncio.sleep(0)
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def proxy(mosquitto: Mosquitto) -> AsyncIterator[Proxy]:
    proxy = Proxy(mosquitto.port)
    server = await proxy.start()
    yield proxy
    server.close()
    await proxy.close()


class FakeBroker:
    """Answers what is sent to it with one prepared piece of bytes after the other, then stays silent."""

    def __init__(self) -> None:
        self.url = ""
        self._answers: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        for answer in self._answers:
            await reader.read(1024)
            writer.write(answer)
        await reader.read()


@pytest.fixture
async def fake_broker() -> AsyncIterator[FakeBroker]:
    broker = FakeBroker()
    server = await broker.start()
    yield broker
    server.close()
    await broker.close()
