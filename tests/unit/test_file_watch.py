"""A folder is looked at without end: no file of it, and no archive, ends that."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.batch import Position, RawBatch
from tasks.extract import files
from tasks.extract.files import FileSource, FileWatch
from tests.fixtures import waiting


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def a_source(inbox: Path) -> FileSource:
    return FileSource(
        root=inbox.parent,
        folder="in",
        pattern="*",
        archive="done",
        settle=timedelta(0),
        poll=timedelta(milliseconds=10),
    )


def drop(inbox: Path, *names: str) -> None:
    """Files of one line, the first the oldest."""
    for age, name in enumerate(names):
        (inbox / name).write_text(f"n\n{age}\n")
        os.utime(inbox / name, (1_000 + age, 1_000 + age))


async def all_of(positions: Sequence[Position]) -> Sequence[bool]:
    return [True] * len(positions)


def location(batch: RawBatch) -> str:
    place: str = batch.messages["location"][-1]
    return place


def is_there(path: Path) -> bool:
    return path.exists()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def until(path: Path, coming: AsyncIterator[RawBatch]) -> None:
    """Look on, until the path is there."""
    looking = asyncio.ensure_future(anext(coming))
    try:
        async with asyncio.timeout(20):
            while not is_there(path):
                assert not looking.done(), looking
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def test_a_file_that_is_gone_before_its_first_part_is_let_go(inbox: Path) -> None:
    drop(inbox, "gone.csv", "here.csv")

    async def and_remove(positions: Sequence[Position]) -> Sequence[bool]:
        (inbox / "gone.csv").unlink(missing_ok=True)
        return await all_of(positions)

    async with aclosing(FileWatch(a_source(inbox), and_remove).batches()) as coming:
        assert location(await anext(coming)) == "here.csv:2"


async def test_an_archive_that_cannot_be_written_is_tried_again(inbox: Path) -> None:
    drop(inbox, "a.csv", "b.csv")
    archive = inbox.parent / "done"
    archive.write_text("a file where the folder should be")
    async with aclosing(FileWatch(a_source(inbox), all_of).batches()) as coming:
        await (await anext(coming)).acknowledge()
        await (await anext(coming)).acknowledge()
        assert names(inbox) == ["a.csv", "b.csv"]
        archive.unlink()
        await until(archive / "b.csv", coming)
    assert names(archive) == ["a.csv", "b.csv"]


async def test_why_a_file_cannot_be_read_is_said_once(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(inbox, "a.csv")
    reason, looks, told = ["no right to it"], list[str](), list[str]()

    def refuse(*_: object, **__: object) -> None:
        looks.append(reason[0])
        raise PermissionError(reason[0])

    monkeypatch.setattr(files, "survey", refuse)
    monkeypatch.setattr(files.log, "warning", lambda _said, reason, **_: told.append(reason))
    async with aclosing(FileWatch(a_source(inbox), all_of).batches()) as coming:
        looking = asyncio.ensure_future(anext(coming))
        await waiting.until(lambda: len(looks) > 3)
        reason[0] = "the disk is broken"
        await waiting.until(lambda: looks.count(reason[0]) > 3)
        monkeypatch.undo()
        assert location(await looking) == "a.csv:2"
    assert told == ["no right to it", "the disk is broken"]


class OfOneThread(dict[Any, Any]):
    """A dictionary that tells when another thread looks at it or changes it."""

    def __init__(self) -> None:
        self.own, self.others = threading.get_ident(), list[str]()

    def _seen(self, what: str) -> None:
        if threading.get_ident() != self.own:
            self.others.append(what)

    def pop(self, *arguments: Any) -> Any:
        self._seen("pop")
        return super().pop(*arguments)

    def keys(self) -> Any:
        self._seen("keys")
        return super().keys()


async def test_what_is_taken_is_known_to_one_thread_alone(inbox: Path) -> None:
    """Else one thread changes it while another goes through it, which ends the listener."""
    drop(inbox, "a.csv")
    watch = FileWatch(a_source(inbox), all_of)
    taken = watch._taken = OfOneThread()
    async with aclosing(watch.batches()) as coming:
        await (await anext(coming)).acknowledge()
    assert (inbox.parent / "done" / "a.csv").exists()
    assert taken.others == []
