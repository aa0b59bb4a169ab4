"""A folder of files that grow is looked at without end: which part comes next, and what never comes twice."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest

from tasks.batch import RawBatch
from tasks.extract import file_life, follow_watch
from tasks.extract.files import FileSource
from tasks.extract.follow_watch import FollowWatch
from tasks.extract.formats.csv import CsvFormat
from tasks.extract.growing import Growing
from tasks.followed import Followed, FollowedFile, Reached
from tests.fixtures.waiting import until


@dataclass
class Books:
    """How far files were read, as Postgres keeps it."""

    files: dict[UUID, FollowedFile] = field(default_factory=dict)

    def kept(self) -> Followed:
        return Followed(
            all=self._followed, find=self._find, begin=self._begin, seen=self._seen, left=self._left
        )

    async def _followed(self) -> Sequence[FollowedFile]:
        return [each for each in self.files.values() if not each.left]

    async def _find(self, path: str, inode: str) -> Sequence[FollowedFile]:
        found = [each for each in self.files.values() if path in (each.path, each.seen_as)]
        found += [each for each in self.files.values() if each not in found and each.inode == inode]
        return found[::-1]

    async def _begin(self, new: FollowedFile) -> bool:
        self.files[new.file] = new
        return True

    async def _seen(self, file: UUID, path: str, inode: str) -> None:
        self.files[file] = replace(self.files[file], seen_as=path, inode=inode, left=False)

    async def _left(self, file: UUID) -> None:
        self.files[file] = replace(self.files[file], left=True)

    def read(self, path: str) -> int:
        """How many bytes of a file are read."""
        return max((each.reached.next for each in self.files.values() if each.path == path), default=0)

    async def commit(self, batch: RawBatch) -> None:
        (at,) = batch.progress
        file = self.files[UUID(at.part)]
        assert at.first == (file.reached.mark if file.reached.next else None)
        self.files[file.file] = replace(file, reached=Reached.of(at.end))
        await batch.acknowledge()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def a_watch(
    inbox: Path, books: Books, max_bytes: int = 1_000, said: CsvFormat | None = None, pattern: str = "*.*"
) -> FollowWatch:
    source = FileSource(
        root=inbox.parent,
        folder="in",
        pattern=pattern,
        format=said,
        follow=True,
        max_bytes=max_bytes,
        unfinished=timedelta(0),
        poll=timedelta(milliseconds=10),
    )
    return FollowWatch(source, books.kept())


async def taken_from(watch: FollowWatch, books: Books, parts: int) -> list[tuple[str, bytes]]:
    """Where so many parts begin, and their bytes; then nothing more comes for a while."""
    found = list[tuple[str, bytes]]()
    async with aclosing(watch.batches()) as coming:
        async with asyncio.timeout(20):
            while len(found) < parts:
                batch = await anext(coming)
                await books.commit(batch)
                found.append(batch.messages.row(-1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(coming), 0.2)
    return found


async def all_taken(watch: FollowWatch, books: Books) -> None:
    """Without end."""
    async for batch in watch.batches():
        await books.commit(batch)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


@pytest.mark.parametrize(
    ("name", "before", "first", "second"),
    [
        pytest.param("a.csv", b"n\r\n", b"1\r\n2\r\n", b"3\r\n", id="CRLF"),
        pytest.param("a.csv", b"n\r", b"1\r2\r", b"3\r", id="CR"),
        pytest.param("a.csv", b"\xef\xbb\xbfn\n", b"1\n2\n", b"3\n", id="marked CSV"),
        pytest.param("a.ndjson", b"\xef\xbb\xbf", b"{}\n{}\n", b"{}\n", id="marked NDJSON"),
    ],
)
async def test_it_is_gone_on_with_where_a_record_ended_whatever_ends_lines(
    inbox: Path, name: str, before: bytes, first: bytes, second: bytes
) -> None:
    books, begin = Books(), 2 if name == "a.csv" else 1
    append(inbox / name, before + first + b"half")
    assert await taken_from(a_watch(inbox, books), books, 1) == [(f"{name}:{begin}", first)]
    append(inbox / name, second[:-1].replace(b"{}", b"") + second[-1:])
    ended = b"half" + second[:-1].replace(b"{}", b"") + second[-1:]
    assert await taken_from(a_watch(inbox, books), books, 1) == [(f"{name}:{begin + 2}", ended)]
    (file,) = books.files.values()
    assert file.reached.next == (inbox / name).stat().st_size
    assert file.reached.line == begin + 3


async def test_of_a_header_alone_nothing_comes(inbox: Path) -> None:
    books = Books()
    append(inbox / "a.csv", b"n\n")
    append(inbox / "b.csv", b"")
    assert await taken_from(a_watch(inbox, books), books, 0) == []


NAMED = CsvFormat(type="csv", names=("n",))


@pytest.mark.parametrize(
    ("said", "before"),
    [
        pytest.param(NAMED, b"", id="no header"),
        pytest.param(NAMED, b"\xef\xbb\xbf", id="a byte order mark alone"),
        pytest.param(CsvFormat(type="csv", names=("n",), skip=2), b'it"s\n\n', id="skipped"),
        pytest.param(CsvFormat(type="csv", skip=1), b"x\nn\n", id="a header behind skipped ones"),
    ],
)
async def test_by_a_format_records_come_as_they_end_from_where_they_begin(
    inbox: Path, said: CsvFormat, before: bytes
) -> None:
    books, first = Books(), 1 + before.count(b"\n")
    append(inbox / "a.log", before + b"1\n")
    assert await taken_from(a_watch(inbox, books, said=said), books, 1) == [(f"a.log:{first}", b"1\n")]
    append(inbox / "a.log", b"2\n3\n4")
    watch = a_watch(inbox, books, said=said)
    assert await taken_from(watch, books, 1) == [(f"a.log:{first + 1}", b"2\n3\n")]
    assert watch.not_taken == {"a.log": "its last 1 bytes are no whole record yet"}
    (file,) = books.files.values()
    assert (file.reached.next, file.reached.line) == (len(before) + 6, first + 3)
    assert file.reached.sha256 == sha256(before + b"1\n2\n3\n").digest()


async def test_a_part_without_a_header_is_halved_as_any_other(inbox: Path) -> None:
    books = Books()
    append(inbox / "a.log", b"1\n2\n3\n4\n")
    async with aclosing(a_watch(inbox, books, said=NAMED).batches()) as coming:
        whole = await anext(coming)
        halves = whole.halve and whole.halve()
        assert halves
        assert [half.messages.rows() for half in halves] == [
            [("a.log:1", b"1\n2\n")],
            [("a.log:3", b"3\n4\n")],
        ]
        for half in halves:
            await books.commit(half)
        (file,) = books.files.values()
        assert file.reached.mark == whole.progress[0].end


async def test_a_file_that_ended_before_its_records_began_is_given_on_at_its_end(inbox: Path) -> None:
    """Its lines are no records yet while it is followed; once it is let go, none will come."""
    books, said = Books(), CsvFormat(type="csv", names=("n",), skip=3)
    append(inbox / "a.log", b"x\ny\n")
    watch = a_watch(inbox, books, said=said, pattern="*.log")
    async with aclosing(watch.batches()) as coming:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(coming), 0.3)
    assert watch.not_taken == {"a.log": "its last 4 bytes are no whole record yet"}
    watch = a_watch(inbox, books, said=said, pattern="*.log")
    async with aclosing(watch.batches()) as coming:
        looking = asyncio.ensure_future(anext(coming))
        await until(lambda: bool(watch._open))
        (inbox / "a.log").rename(inbox / "a.old")
        batch = await asyncio.wait_for(looking, 20)
        assert batch.messages.rows() == [("a.log:1", b"x\ny\n"), ("a.log:3", b"")]
        await books.commit(batch)
        append(inbox / "a.old", b"z\n1\n")
        batch = await asyncio.wait_for(anext(coming), 20)
        assert batch.messages.row(-1) == ("a.log:3", b"z\n1\n")
        await books.commit(batch)
    assert books.read("a.log") == 8


async def test_a_halved_part_leaves_the_digests_that_whole_parts_would(inbox: Path) -> None:
    books = Books()
    append(inbox / "a.csv", b"n\n1\n2\n3\n4\n")
    async with aclosing(a_watch(inbox, books).batches()) as coming:
        whole = await anext(coming)
        assert whole.halve is not None
        halves = whole.halve()
        assert halves is not None
        for half in halves:
            await books.commit(half)
        (file,) = books.files.values()
        assert file.reached.mark == whole.progress[0].end
        assert [half.messages.row(-1) for half in halves] == [("a.csv:2", b"1\n2\n"), ("a.csv:4", b"3\n4\n")]


async def test_many_files_need_few_descriptors_and_none_is_forgotten(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_watch, "MOST_OPEN", 3)
    books, names = Books(), [f"{number}.csv" for number in range(9)]
    for name in names:
        append(inbox / name, b"n\n1\n")
    watch = a_watch(inbox, books)
    looking = asyncio.create_task(all_taken(watch, books))
    for _ in range(3):
        await until(lambda: all(books.read(name) == (inbox / name).stat().st_size for name in names))
        await until(lambda: len(watch._open) <= 3)
        assert len(books.files) == len(names)
        for name in names:
            append(inbox / name, b"2\n")
    looking.cancel()
    await asyncio.wait([looking])


async def test_a_second_name_of_a_file_that_is_none_of_ours_changes_nothing(inbox: Path) -> None:
    books = Books()
    append(inbox / "b.csv", b"n\n1\n")
    for link in ("a", "c"):
        os.link(inbox / "b.csv", inbox / link)
    assert await taken_from(a_watch(inbox, books), books, 1) == [("b.csv:2", b"1\n")]
    append(inbox / "b.csv", b"2\n3")
    assert await taken_from(a_watch(inbox, books), books, 1) == [("b.csv:3", b"2\n")]


async def test_what_was_given_up_and_is_gone_is_told(inbox: Path) -> None:
    books = Books()
    append(inbox / "a.csv", b"n\n1\n")
    watch = a_watch(inbox, books)
    async with aclosing(watch.batches()) as coming:
        batch = await anext(coming)
        (inbox / "a.csv").unlink()
        assert batch.abandon is not None
        await batch.abandon()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(coming), 0.3)
    assert watch.not_taken["a.csv"].startswith("it is gone")
    assert [each.left for each in books.files.values()] == [True]


async def rotated(inbox: Path) -> Books:
    """`a.csv` was read, has grown since, and is called `a.old` now, a name that is none of ours."""
    books = Books()
    append(inbox / "a.csv", b"n\n1\n")
    await taken_from(a_watch(inbox, books), books, 1)
    append(inbox / "a.csv", b"2\n")
    (inbox / "a.csv").rename(inbox / "a.old")
    return books


async def test_a_rotated_file_that_was_changed_is_told(inbox: Path) -> None:
    books = await rotated(inbox)
    with (inbox / "a.old").open("r+b") as file:
        file.write(b"m")
    watch = a_watch(inbox, books)
    assert await taken_from(watch, books, 0) == []
    assert watch.not_taken["a.old"].endswith("what came after its first 4 bytes was not read")
    assert [each.left for each in books.files.values()] == [True]


async def test_a_rotated_file_that_another_listener_held_is_read_to_its_end(inbox: Path) -> None:
    books = await rotated(inbox)
    holder = os.open(inbox / "a.old", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    watch = a_watch(inbox, books)
    looking = asyncio.create_task(all_taken(watch, books))
    await until(lambda: bool(watch._locked))
    os.close(holder)
    await until(lambda: books.read("a.csv") == (inbox / "a.old").stat().st_size)
    looking.cancel()
    await asyncio.wait([looking])


async def test_a_file_that_cannot_be_read_is_tried_again_after_pauses_that_grow(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_life, "FIRST_PAUSE", 0.02)
    tried = list[float]()
    read_on = Growing.read_on

    def broken(self: Growing, *, to_the_end: bool = False) -> object:
        tried.append(monotonic())
        if len(tried) < 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_on(self, to_the_end=to_the_end)

    monkeypatch.setattr(Growing, "read_on", broken)
    books = Books()
    append(inbox / "a.csv", b"n\n1\n")
    watch = a_watch(inbox, books)
    assert await taken_from(watch, books, 1) == [("a.csv:2", b"1\n")]
    assert tried[3] - tried[2] > 0.08
    assert watch.not_taken == {}
