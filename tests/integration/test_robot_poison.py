"""Robots that answer what no robot should: it is told and ends, and takes neither memory nor others along."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from console.asked.robots import robots_seen
from flows.worker import robot_watch
from flows.worker.robot_watch import RobotWatch
from infra import http
from infra.settings import load
from infra.simulators.robot import Robot, serial_dilution, serve_robot
from lineage.errors import HeadwaterError, RejectedError, UnavailableError
from tasks.batch import RawBatch
from tasks.extract import opentrons
from tasks.extract.opentrons import (
    RobotOptions,
    RobotSource,
    RunSeen,
    fetch_run,
    look,
    notice_key,
    robot_client,
)
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.waiting import until

RUN = UUID("11111111-1111-4111-8111-111111111111")
SOURCE = RobotSource(name="bench", dataset="opentrons:bench/runs", patience=timedelta(seconds=2))


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(say: Callable[[str], bytes | AsyncIterator[bytes]]) -> AsyncIterator[str]:
    """A server that answers a path with these bytes, head included, as they come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            said = say(path)
            if isinstance(said, bytes):
                writer.write(said)
            else:
                async for part in said:
                    writer.write(part)
                    await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def endless(part: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"
        await asyncio.sleep(pause)


def a_bomb() -> bytes:
    """200 MB of spaces in 200 kB."""
    return answer(gzip.compress(b" " * 200_000_000, 1), "Content-Encoding: gzip")


async def refused(say: Callable[[str], Any]) -> HeadwaterError:
    async with serving(say) as url, robot_client(SOURCE, url) as client:
        with pytest.raises(HeadwaterError) as raised:
            await fetch_run(client, SOURCE, RUN, datetime.now(UTC))
    return raised.value


@pytest.mark.parametrize(
    "say", [lambda _: endless(b" " * 65_536), lambda _: a_bomb()], ids=["endless", "bomb"]
)
async def test_an_answer_that_is_too_large_is_refused_before_it_is_held(say: Any) -> None:
    error = await refused(say)
    assert isinstance(error, RejectedError)
    assert "more than 67,108,864 bytes" in str(error)


async def test_an_answer_that_drips_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SLOWEST", 1)
    began = monotonic()
    assert isinstance(await refused(lambda _: endless(b" ", 0.05)), UnavailableError)
    assert monotonic() - began < 30


async def test_pages_without_end_are_refused_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opentrons, "MOST_BYTES", 1_000_000)

    def say(path: str) -> bytes:
        cursor = int(path.partition("cursor=")[2].partition("&")[0] or 0)
        command = {"id": f"c{cursor}", "params": {"message": "x" * 100_000}}
        data = [command] if "commands" in path else {"id": str(RUN)}
        meta = {"cursor": cursor, "totalLength": 10**12}
        return answer(json.dumps({"data": data, "meta": meta}).encode())

    assert "over 1,000,000 bytes of commands" in str(await refused(say))


GARBAGE: dict[str, bytes] = {
    "html": b"<html><body>Bad gateway</body></html>",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe\x00",
    "10,000 digits": b'{"data": {"id": "x", "status": "running", "commands": ' + b"9" * 10_000 + b"}}",
    "1,000 digits": b'{"data": [], "meta": {"cursor": '
    + b"9" * 1_000
    + b', "totalLength": '
    + b"9" * 1_000
    + b"}}",
    "NaN": b'{"data": {"id": "x", "status": NaN}, "meta": {"cursor": NaN, "totalLength": Infinity}}',
    "deep": b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long words": json.dumps({"data": {"status": "s" * 10_000_000, "protocolId": "p" * 1_000_000}}).encode(),
    "control": json.dumps({"data": {"status": "\x1b[2J\x07", "protocolId": "../../\r\n"}}).encode(),
    "lists of anything": b'{"data": [1, null, "x", [], {}], "meta": []}',
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_kept_for_the_transform_and_raises_nothing_unforeseen(name: str) -> None:
    body = GARBAGE[name]
    async with serving(lambda _: answer(body)) as url, robot_client(SOURCE, url) as client:
        batch = await fetch_run(client, SOURCE, RUN, datetime.now(UTC))
        seen = await look(client, SOURCE, RUN)
    assert isinstance(batch, RawBatch)
    assert body in batch.messages["payload"].to_list()
    assert seen is not None
    assert len(notice_key(seen)) < 1_000
    assert batch.position is not None
    assert len(json.dumps(batch.position.detail)) < 2_000


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_robot_that_asks_to_wait_is_not_asked_before(form: str) -> None:
    asked: list[float] = []

    def say(path: str) -> bytes:
        asked.append(monotonic())
        if len(asked) > 1:
            return answer(b'{"data": []}')
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        wait = "2" if form == "seconds" else at
        return answer(b"", f"Retry-After: {wait}", status="429 Too Many Requests")

    async with serving(say) as url:
        async with robot_client(SOURCE, url) as client:
            with pytest.raises(UnavailableError, match=r"answered 429 .*asked again in [23] s") as raised:
                await client.get("/runs")
        assert raised.value.after is not None
        async with robot_client(SOURCE, url) as again:  # as the next try of a flow does
            await again.get("/runs")
    assert asked[1] - asked[0] >= 1.5


async def test_a_robot_that_asks_to_wait_for_long_is_told_so_at_once() -> None:
    busy = answer(b"", "Retry-After: 900", status="503 Starting")
    async with serving(lambda _: busy) as url, robot_client(SOURCE, url) as client:
        for reason in ("it answered 503", "it asked us to wait"):
            with pytest.raises(UnavailableError, match=reason) as raised:
                await client.get("/runs")
            assert raised.value.after == pytest.approx(900, abs=60)


@pytest.mark.parametrize("said", ["soon", "-5", "", "1e9", "Mon, 99 Foo 2026"])
async def test_a_wait_that_nobody_can_read_is_none(said: str) -> None:
    busy = answer(b"", f"Retry-After: {said}", status="503 Starting")
    async with serving(lambda _: busy) as url, robot_client(SOURCE, url) as client:
        with pytest.raises(UnavailableError) as raised:
            await client.get("/runs")
    assert raised.value.after is None


async def test_a_robot_that_is_away_is_told_once_and_so_is_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robot_watch, "AGAIN_AFTER", timedelta(milliseconds=50))
    robot, told, started = Robot(), [], asyncio.Event()

    async def start(_key: str, _seen: RunSeen) -> bool:
        started.set()
        return True

    with capture_logs() as logs:
        async with serve_robot(robot) as url, robot_client(SOURCE, url) as client:
            await robot.up()
            options = RobotOptions(poll_every=timedelta(milliseconds=100))
            watch = RobotWatch(SOURCE, client, options, start, lambda *what: told.append(what))
            polling = asyncio.create_task(watch.poll())
            await until(lambda: ("bench", None) in told)
            await robot.stop()  # it answers 503
            await until(lambda: len([reason for _, reason in told if reason]) > 5)
            await robot.start()
            await robot.play(serial_dilution(1))
            await asyncio.wait_for(started.wait(), 30)
            await until(lambda: told[-1] == ("bench", None))
            polling.cancel()
            await watch.close()
    events = [entry["event"] for entry in logs]
    assert events == ["a robot does not answer as it should, asked again", "the robot answers again"]


async def test_every_robot_is_asked_by_itself() -> None:
    robot = Robot()
    async with serve_robot(robot) as url, serving(lambda _: answer(b"<html>")) as other:
        await robot.up()
        await robot.play(serial_dilution(1))
        settings = load(robots=f"bench={url},wrong={other},off=http://127.0.0.1:9")
        bench, wrong, off = await robots_seen(settings, SHIPPED)
    assert (bench.runs, bench.reason) == (1, "")
    assert "no list of its runs" in wrong.reason
    assert "connect" in off.reason.lower()
