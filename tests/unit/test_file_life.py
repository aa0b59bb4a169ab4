"""No file is archived unless what was committed is what is there, and none is left: whatever anybody does."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tasks.extract.file_life import FIRST_PAUSE, LONGEST_PAUSE, Ending, Life, Mark, Quiet, Stage, pause_after

QUIET = Quiet(settle=1.0, unfinished=30.0)


class Disk(RuleBasedStateMachine):
    """One name in a folder, those who write to it, and a reader that may be killed between any two steps.

    A part is a half of the file; the ledger knows each by the hash of the whole, as a position does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.tick, self.inode = 0.0, 1, 1
        self.content: bytes | None = None
        self.mark = Mark(1, 1, 0, 0, 0)
        self.written = False  # somebody has it open
        self.ledger: set[tuple[str, int]] = set()
        self.archive: list[bytes] = []
        self.life: Life | None = None
        self.hashed = ""  # of what the reader surveyed
        self.parts: list[int] = []  # still to be read

    def put(self, content: bytes, *, new: bool = False, old_time: bool = False) -> None:
        self.tick += 1
        self.inode += new or self.content is None
        mtime = self.mark.mtime_ns if old_time else self.tick
        self.content, self.mark = content, Mark(1, self.inode, len(content), mtime, self.tick)

    @rule(text=st.sampled_from([b"1", b"9.75\n", b"20.5\n"]))
    def append(self, text: bytes) -> None:
        self.put((self.content or b"") + text)

    @rule(text=st.sampled_from([b"h\n1\n", b"h\n2\n"]))
    def replace_it(self, text: bytes) -> None:
        self.put(text, new=True)

    @precondition(lambda self: self.content)
    @rule(byte=st.sampled_from([b"3", b"\n"]))
    def edit_with_the_old_time(self, byte: bytes) -> None:
        assert self.content
        self.put(self.content[:-1] + byte, old_time=True)

    @precondition(lambda self: self.content)
    @rule()
    def cut_off(self) -> None:
        self.put(b"h\n")

    @rule(written=st.booleans())
    def open_or_close(self, written: bool) -> None:
        self.written = written and self.content is not None

    @rule(seconds=st.sampled_from([0.5, 1.5, 40.0, 400.0]))
    def pause(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def kill(self) -> None:
        self.life, self.parts = None, []

    @rule()
    def look(self) -> None:
        if self.life is not None and self.life.stage is not Stage.SEEN:
            return
        if self.content is None:
            self.life = None
        else:
            self.life = (self.life or Life(self.mark, self.now)).seen(self.mark, self.now)

    def ending(self) -> Ending:
        return Ending(whole=(self.content or b"").endswith(b"\n"), written=self.written)

    @precondition(lambda self: self.life is not None and self.life.is_due(self.now, QUIET))
    @rule()
    def take(self) -> None:
        assert self.life is not None
        if self.content is None or self.mark != self.life.mark:
            self.life = None
        elif why := self.life.why_not_yet(self.ending(), self.now, QUIET):
            self.life = self.life.waits(why)
        else:
            self.hashed = hashlib.sha256(self.content).hexdigest()
            self.parts = [part for part in (0, 1) if (self.hashed, part) not in self.ledger]
            self.life = self.life.taken(len(self.parts))

    @precondition(lambda self: self.parts)
    @rule(fails=st.booleans())
    def read_and_commit(self, fails: bool) -> None:
        assert self.life is not None
        if fails:
            self.life, self.parts = self.life.failed("poison", self.now), []
        elif self.content is None or self.mark != self.life.mark:
            self.life, self.parts = None, []
        else:
            assert hashlib.sha256(self.content).hexdigest() == self.hashed
            self.ledger.add((self.hashed, self.parts.pop(0)))
            self.life = self.life.committed()

    @precondition(lambda self: self.life is not None and self.life.may_be_archived(self.now))
    @rule(fails=st.booleans())
    def archive_it(self, fails: bool) -> None:
        assert self.life is not None
        there = None if self.content is None else self.mark
        if self.life.why_not_the_same(there, self.ending()):
            self.life = self.life.failed("open", self.now) if there == self.life.mark else None
        elif fails:
            self.life = self.life.failed("no room", self.now)
        else:
            assert self.content is not None
            assert not self.written
            self.archive.append(self.content)
            self.content, self.life = None, None

    @invariant()
    def what_is_archived_is_what_was_committed(self) -> None:
        for content in self.archive:
            digest = hashlib.sha256(content).hexdigest()
            assert {(digest, 0), (digest, 1)} <= self.ledger

    def teardown(self) -> None:
        """Left alone, whatever is there is committed and archived, though it failed before."""
        self.written = False
        for _ in range(8):
            self.now += LONGEST_PAUSE + QUIET.unfinished
            self.look()
            if self.life is not None and self.life.is_due(self.now, QUIET):
                self.take()
            while self.parts:
                self.read_and_commit(fails=False)
            if self.life is not None and self.life.may_be_archived(self.now):
                self.archive_it(fails=False)
        assert self.content is None
        self.what_is_archived_is_what_was_committed()


Disk.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestDisk = Disk.TestCase


def test_what_fails_is_tried_again_after_pauses_that_grow_and_at_once_when_it_changes() -> None:
    mark = Mark(1, 1, 1, 1, 1)
    life, pauses = Life(mark, 0.0), []
    for _ in range(12):
        life = life.failed("poison", 100.0)
        pauses.append(life.again_at - 100.0)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pause_after(2_000) == LONGEST_PAUSE
    assert pauses[-1] == LONGEST_PAUSE
    assert not life.is_due(101.0, QUIET)
    assert life.seen(replace(mark, ctime_ns=2), 101.0).is_due(102.0, QUIET)


@pytest.mark.parametrize("stage", [Stage.READ, Stage.COMMITTED])
def test_what_is_read_is_not_taken_again(stage: Stage) -> None:
    assert not Life(Mark(1, 1, 1, 1, 1), 0.0, stage).is_due(1_000.0, QUIET)
