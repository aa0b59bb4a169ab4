"""A folder is looked at without end: no file of it, and no archive, ends that."""

import asyncio
import gzip
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tasks.batch import Position, RawBatch
from tasks.decode.chunk import decode_batch
from tasks.decode.messages import Decoder
from tasks.extract import file_life, file_watch, teller, writer
from tasks.extract.cuts import Survey
from tasks.extract.file_watch import FileWatch
from tasks.extract.files import FileSource
from tasks.extract.folder import mark_at
from tasks.extract.taken import Opened
from tasks.layout import records_in
from tests.fixtures import waiting
from tests.fixtures.commit import CONTRACT


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
        unfinished=timedelta(0),
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


async def test_an_archive_that_cannot_be_written_is_tried_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_life, "FIRST_PAUSE", 0.01)
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

    monkeypatch.setattr(file_life, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(file_watch, "Opened", refuse)
    monkeypatch.setattr(file_watch.log, "warning", lambda _said, reason, **_: told.append(reason))
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
    taken = OfOneThread()
    watch._taken = taken
    async with aclosing(watch.batches()) as coming:
        await (await anext(coming)).acknowledge()
    assert (inbox.parent / "done" / "a.csv").exists()
    assert taken.others == []


async def taken_from(watch: FileWatch, until: Callable[[], bool]) -> list[RawBatch]:
    """What a watch gives and commits until something holds."""
    found: list[RawBatch] = []
    async with aclosing(watch.batches()) as coming:
        looking = asyncio.ensure_future(anext(coming))
        async with asyncio.timeout(30):
            while not until():
                await asyncio.wait([looking], timeout=0.01)
                if looking.done():
                    found.append(looking.result())
                    await found[-1].acknowledge()
                    looking = asyncio.ensure_future(anext(coming))
        looking.cancel()
        await asyncio.wait([looking])
    return found


def text_of(batches: Sequence[RawBatch]) -> bytes:
    return b"".join(payload for batch in batches for payload in batch.messages["payload"][1:])


def archived(inbox: Path, *wanted: str) -> Callable[[], bool]:
    return lambda: all((inbox.parent / "done" / name).exists() for name in wanted)


async def test_what_a_folder_holds_and_nobody_takes_is_told_by_name_and_why(inbox: Path) -> None:
    drop(inbox, "DATA.CSV", "notes.txt", ".hidden.csv", "bad\udcfcname.txt")
    secret = inbox.parent / "secret"
    secret.write_text("root:x:0:0\n")
    (inbox / "link.csv").symlink_to(secret)
    (inbox.parent / "elsewhere").mkdir()
    (inbox.parent / "elsewhere" / "x.csv").write_text("n\n1\n")
    (inbox / "deep").symlink_to(inbox.parent / "elsewhere")
    os.mkfifo(inbox / "pipe.csv")
    os.link(secret, inbox / "hard.csv")
    os.chown(secret, 12_345, -1)
    told: list[Mapping[str, str]] = []

    async def tell(not_taken: Mapping[str, str]) -> None:
        told.append(not_taken)

    watch = FileWatch(a_source(inbox).model_copy(update={"pattern": "**/*"}), all_of, tell)
    (batch,) = await taken_from(watch, archived(inbox, "DATA.CSV"))
    assert location(batch) == "DATA.CSV:2"
    assert {name: why.split(":")[0] for name, why in told[-1].items()} == {
        "notes.txt": "its name ends in none of .csv, .ndjson, .jsonl, .parquet",
        "bad\\xfcname.txt": "its name ends in none of .csv, .ndjson, .jsonl, .parquet",
        ".hidden.csv": "its name begins with a dot, as of one that is still written",
        "link.csv": "it is a symbolic link, and none is followed",
        "deep": "it is a symbolic link, and none is followed",
        "pipe.csv": "it is no regular file",
        "hard.csv": "it is a hard link to a file of another owner than the folder's",
    }


async def test_what_is_not_taken_is_told_again_now_and_then(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told may be away, or be restored from before it was told."""
    monkeypatch.setattr(teller, "TELL_EVERY", 0.1)
    drop(inbox, "notes.txt")
    told: list[Mapping[str, str]] = []

    async def tell(not_taken: Mapping[str, str]) -> None:
        told.append(not_taken)

    async with aclosing(FileWatch(a_source(inbox), all_of, tell).batches()) as coming:
        looking = asyncio.ensure_future(anext(coming))
        await waiting.until(lambda: len(told) > 2)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert [list(each) for each in told[:3]] == [["notes.txt"]] * 3


async def test_a_folder_that_becomes_a_link_on_the_way_is_not_followed(inbox: Path) -> None:
    (inbox / "deep").mkdir()
    (inbox / "deep" / "x.csv").write_text("n\n1\n")
    mark = mark_at(inbox, "deep/x.csv")
    assert mark is not None
    (inbox / "deep").rename(inbox.parent / "moved")
    (inbox / "deep").symlink_to(inbox.parent / "moved")
    with pytest.raises(OSError, match="deep"):
        Opened(a_source(inbox), "deep/x.csv", mark)


async def test_who_writes_and_pauses_longer_than_settle_is_waited_for(inbox: Path) -> None:
    """In the middle of a number; and at the end of a line, which looks finished."""
    drop(inbox, "other.csv")
    with (inbox / "slow.csv").open("w") as file:
        for text in ("n\n1", "9.75\n", "20.5\n"):
            file.write(text)
            file.flush()
            watch = FileWatch(a_source(inbox), all_of)
            await taken_from(watch, lambda watch=watch: "slow.csv" in watch.not_taken)  # type: ignore[misc]
            assert watch.not_taken["slow.csv"] == "somebody has it open for writing"
    found = await taken_from(FileWatch(a_source(inbox), all_of), archived(inbox, "slow.csv"))
    assert text_of(found) == b"19.75\n20.5\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"n\n1"), ("a.csv", b"n\r\n"), ("a.parquet", b"PAR1 half"), ("a.ndjson", b"")],
)
async def test_what_does_not_end_as_a_finished_file_waits_longer(
    inbox: Path, name: str, content: bytes
) -> None:
    (inbox / name).write_bytes(content)
    watch = FileWatch(a_source(inbox).model_copy(update={"unfinished": timedelta(seconds=60)}), all_of)
    assert await taken_from(watch, lambda: name in watch.not_taken) == []
    assert "read when it has not changed for 60 s" in watch.not_taken[name]
    await taken_from(FileWatch(a_source(inbox), all_of), archived(inbox, name))


async def test_who_goes_on_writing_to_an_archived_file_is_read_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system does not tell of writers."""
    monkeypatch.setattr(writer, "_is_written", lambda _: None)
    monkeypatch.setattr("tasks.extract.archived.EVERY", 0.0)
    with (inbox / "a.csv").open("w") as file:
        file.write("n\n1\n")
        file.flush()
        watch, found = FileWatch(a_source(inbox), all_of), list[RawBatch]()
        done = inbox.parent / "done" / "a.csv"

        def written_once_archived() -> bool:
            if done.exists() and file.tell() < 6:
                file.write("2\n")
                file.flush()
            return (
                done.exists()
                and done.stat().st_size == 6
                and not (inbox / "a.csv").exists()
                and len(looks) > 1
            )

        looks: list[Sequence[Position]] = []

        async def counted(positions: Sequence[Position]) -> Sequence[bool]:
            looks.append(positions)
            return await all_of(positions)

        watch = FileWatch(a_source(inbox), counted)
        found = await taken_from(watch, written_once_archived)
    assert [text_of([batch]) for batch in found] == [b"1\n", b"1\n2\n"]


async def test_an_edit_of_the_same_size_with_the_old_time_is_no_part_of_what_was_hashed(inbox: Path) -> None:
    path = inbox / "a.csv"
    path.write_text("n\n" + "1\n" * 10)
    source = a_source(inbox).model_copy(update={"max_bytes": 10})
    old = path.stat()
    async with aclosing(FileWatch(source, all_of).batches()) as coming:
        first = await anext(coming)
        path.write_text("n\n" + "2\n" * 10)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        again = [await anext(coming) for _ in range(2)]
        assert text_of([first]) == b"1\n" * 5
        assert text_of(again) == b"2\n" * 10
        shas = [batch.position.detail["sha256"] for batch in [first, *again] if batch.position]
        assert len(set(shas)) == 2
        assert shas[1] == hashlib.sha256(path.read_bytes()).hexdigest()
        await first.acknowledge()  # of the old one: it archives nothing
        assert path.exists()


async def test_a_file_that_fails_alone_is_tried_again_and_the_others_go_on(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_life, "FIRST_PAUSE", 0.01)
    drop(inbox, "bad.csv", "good.csv", "K\udcfchl.csv")
    real = Opened.surveyed

    def poisoned(self: Opened) -> Survey:
        if self.name == "bad.csv":
            raise ValueError("poison")
        return real(self)

    monkeypatch.setattr(Opened, "surveyed", poisoned)
    watch = FileWatch(a_source(inbox), all_of)
    found = await taken_from(watch, archived(inbox, "good.csv", "K\udcfchl.csv"))
    assert sorted(map(location, found)) == ["K\\xfchl.csv:2", "good.csv:2"]
    assert watch.not_taken["bad.csv"] == "poison"
    monkeypatch.undo()
    await taken_from(watch, archived(inbox, "bad.csv"))


async def test_a_name_too_long_for_the_archive_is_shortened(inbox: Path) -> None:
    name = "ü" * 125 + "x.csv"
    for number in range(3):
        (inbox / name).write_text(f"n\n{number}\n")
        await taken_from(FileWatch(a_source(inbox), all_of), lambda: not (inbox / name).exists())
    kept = names(inbox.parent / "done")
    assert len(kept) == 3
    assert all(each.endswith(".csv") and len(each.encode()) <= 255 for each in kept)
    assert sorted((inbox.parent / "done" / each).read_text() for each in kept) == [
        "n\n0\n",
        "n\n1\n",
        "n\n2\n",
    ]


@pytest.mark.parametrize("content", [b'{"n": 1}', b"1,2,3\n", b'"n"\r"1"\r"2"\r', b"n\n", b"n\r1\r"])
async def test_no_file_that_holds_anything_is_archived_without_a_part(inbox: Path, content: bytes) -> None:
    (inbox / "a.csv").write_bytes(content)
    (batch,) = await taken_from(FileWatch(a_source(inbox), all_of), archived(inbox, "a.csv"))
    assert b"".join(batch.messages["payload"]) == content


async def test_marks_and_blanks_of_a_text_are_nothing(inbox: Path) -> None:
    (inbox / "a.ndjson").write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\r\n{"n": 2}\r\n   \r\n{"n": 3}')
    (batch,) = await taken_from(FileWatch(a_source(inbox), all_of), archived(inbox, "a.ndjson"))
    assert batch.layout is not None
    records = records_in(batch.messages["payload"][-1], batch.layout)
    assert [orjson.loads(payload) for payload in records.payloads] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert records.lines == [0, 2, 4]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("n\n1\n".encode("utf-16"), "UTF-16"),
        ("n\n1\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (gzip.compress(b"n\n1\n"), "gzip"),
        (b"PK\x03\x04 a workbook", "a zip archive or a spreadsheet"),
    ],
    ids=["utf-16", "utf-16 without a mark", "gzip", "zip"],
)
async def test_what_is_no_text_is_one_finding_with_its_bytes(inbox: Path, content: bytes, said: str) -> None:
    (inbox / "a.csv").write_bytes(content)
    (batch,) = await taken_from(FileWatch(a_source(inbox), all_of), archived(inbox, "a.csv"))
    assert batch.messages.rows() == [("a.csv:1", content)]
    decoded = decode_batch(batch, Decoder(CONTRACT))
    assert decoded.undecodable.rows() == [(None, "payload.encoding")]
    assert said in decoded.sentences["payload.encoding"]
