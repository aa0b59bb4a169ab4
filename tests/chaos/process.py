"""Our own commands, run through `entry.py`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import psutil

from infra.local.app import App
from infra.local.service import Launch
from tests.chaos import clock
from tests.chaos.entry import HELD, MOMENT
from tests.chaos.ways import ROBOT, WAYS, Way


class Entry(App):
    """One of them, by its name; `command`: what `entry.py` is told."""

    patience: ClassVar[float] = 240.0  # what it needs may be away

    def __init__(
        self,
        root: Path,
        name: str,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        faketime: Path | None,
    ) -> None:
        super().__init__(root, environment=environment)
        self.name = self.role = name  # type: ignore[misc]
        self.command, self._faketime = command, faketime

    def prepare(self) -> Launch:
        launch = super().prepare()
        for left in (MOMENT, HELD):
            (self.directory / left).unlink(missing_ok=True)
        own = {"HEADWATER_HOME": str(home(self.root))}
        if self._faketime:
            own |= clock.environment(self._faketime, self.clock)
            clock.jump(self.clock, 0)
        return Launch(
            command=[sys.executable, "-m", "tests.chaos.entry", *self.command],
            environment={**launch.environment, **own},
            url=launch.url,
            port=launch.port,
            http_port=launch.http_port,
        )

    @property
    def jumps(self) -> bool:
        """Whether its clock can be made to jump."""
        return self._faketime is not None

    @property
    def clock(self) -> Path:
        """The file that says by how much its clock is wrong."""
        return self.directory / "clock"

    @property
    def memory(self) -> float:
        """MB of it that are in memory; 0 when it does not run."""
        address = self.address()
        try:
            return psutil.Process(address.pid).memory_info().rss / 1e6 if address else 0.0
        except psutil.NoSuchProcess:
            return 0.0

    def arm(self, moment: str) -> None:
        """Have the moment come true the next time it is reached."""
        draft = self.directory / f"{MOMENT}.draft"
        draft.write_text(moment)
        draft.replace(self.directory / MOMENT)

    @property
    def armed(self) -> bool:
        """Whether the moment is still to come."""
        return (self.directory / MOMENT).exists()

    @property
    def held(self) -> bool:
        """Whether it waits at a moment."""
        return (self.directory / HELD).exists()

    def release(self) -> None:
        """Let it go on."""
        (self.directory / HELD).unlink(missing_ok=True)

    def disarm(self) -> bool:
        """Whether the moment had come."""
        try:
            (self.directory / MOMENT).unlink()
        except FileNotFoundError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class Processes:
    """All of ours."""

    listeners: Mapping[Way, tuple[Entry, ...]]
    relay: Entry
    serve: Entry | None

    @property
    def all(self) -> tuple[Entry, ...]:
        listeners = [each for group in self.listeners.values() for each in group]
        return (*listeners, self.relay, *([self.serve] if self.serve else []))

    @classmethod
    def of(
        cls,
        root: Path,
        direct: Mapping[str, str],
        through: Mapping[str, str],
        ways: frozenset[str],
        downloads: Path,
    ) -> Self:
        """Those of these ways in; the first of each kind reaches what it needs through the proxies.

        The clock of `serve` does not jump: under libfaketime `time.sleep` fails in Prefect's heartbeat.
        """
        faketime = clock.library(downloads)

        def listener(way: Way, slot: int) -> Entry:
            own = {**(direct if slot else through), "HEADWATER_SLOT": str(slot)}
            return Entry(root, f"{way.name}{slot}", ("listen", "--pipeline", way.pipeline), own, faketime)

        def single(name: str, faketime: Path | None) -> Entry:
            return Entry(root, name, (name,), through, faketime)

        chosen = [way for name, way in WAYS.items() if name in ways]
        return cls(
            listeners={way: tuple(listener(way, slot) for slot in range(way.listeners)) for way in chosen},
            relay=single("relay", faketime),
            serve=single("serve", None) if ROBOT in ways else None,
        )


def home(root: Path) -> Path:
    """Our processes' home: another than the services', whose names a home knows all."""
    return root / "home"
