"""Runs of an OT-2, fetched from its robot-server over HTTP.

The robot announces over MQTT only *that* something changed (`tasks/extract/robot_notices.py`); what changed
is fetched here. A run is fetched before its commands, so that what is stored can only be older than
what a later notice brings, never newer in one part and final in the other.

What the real server does and this module is built for: without a cursor it answers from the running
command, so a cursor is always sent; a cursor past the end is clamped and repeats the last command;
`totalLength` grows while the run goes; only 20 runs are kept, so a run may be gone between two pages.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from time import monotonic
from typing import Any, ClassVar, Literal
from urllib.parse import quote
from uuid import UUID

import polars as pl
from pydantic import Field

from infra.http import Answer, HttpClient, http_client
from lineage import naming
from lineage.digest import message_digest
from lineage.errors import NotFoundError, RejectedError, SettingsError
from tasks.batch import MESSAGE_SCHEMA, Position, RawBatch
from tasks.canonical import canonical_json
from tasks.contract import Frozen
from tasks.extract.pull import Pull, Reading
from tasks.extract.robot_answers import (
    LONGEST,
    MOST,
    count,
    data_of,
    error_details,
    mapping,
    meta_of,
    objects,
    text,
)

PAST_THE_END = 1_000_000_000  # a cursor that is clamped to the last command
MOST_RUNS = 1_000  # in a list; a robot keeps 20
MOST_WORDS = 500  # characters of a robot's own words in an error
MOST_BYTES = 256 * 1024 * 1024  # of all answers about one run, which are held in memory
ENDED = frozenset({"succeeded", "failed", "stopped"})


class RobotRun(Frozen):
    """What to fetch: one run of a robot, or all that the robot still keeps."""

    robot: str = Field(min_length=1)
    experiment_id: UUID | None = None


class RobotOptions(Pull):
    """What a pipeline says of its robots, which are those of the settings; a run reads one of them."""

    run_parameters: ClassVar[type[Frozen]] = RobotRun

    type: Literal["opentrons"] = "opentrons"
    connection: None = None  # robots have settings of their own
    page_length: int = Field(default=100, ge=1)  # commands per page
    max_commands: int = Field(default=100_000, ge=1)  # per run; more is refused rather than held in memory
    patience: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))  # for one answer
    revise_every: timedelta = Field(default=timedelta(seconds=10), ge=timedelta(0))  # while a run goes
    poll_every: timedelta = Field(default=timedelta(minutes=1), gt=timedelta(0))  # beside the notices
    concurrency: int = Field(default=4, ge=1)  # flow runs at the same time

    @property
    def dataset(self) -> str:
        """The runs of all its robots; those of one are a dataset of their own."""
        return naming.opentrons("*")

    @property
    def runs_at_once(self) -> int:
        return self.concurrency

    def check_run(self, told: RobotRun, robots: Mapping[str, str]) -> None:
        if told.robot in robots:
            return
        near = get_close_matches(told.robot, robots, n=1)
        hint = f"did you mean {near[0]}?" if near else "add it."
        there = ", ".join(robots) or "none"
        raise NotFoundError(f"There is no robot {told.robot!r} in HEADWATER_ROBOTS (there: {there}): {hint}")

    def dataset_of(self, told: RobotRun) -> str:
        return naming.opentrons(told.robot)

    def scheduled_runs(self, robots: Mapping[str, str]) -> Sequence[RobotRun]:
        """All that each robot keeps: what notices and polling have missed."""
        return tuple(RobotRun(robot=name) for name in robots)

    def nothing_new(self, told: RobotRun) -> str:
        if told.experiment_id is None:
            return f"Robot {told.robot} keeps no run."
        return f"Robot {told.robot} no longer knows run {told.experiment_id}."

    def robot(self, name: str) -> "RobotSource":
        """A robot as these options have it read."""
        return RobotSource(
            name=name,
            dataset=naming.opentrons(name),
            page_length=self.page_length,
            max_commands=self.max_commands,
            patience=self.patience,
        )

    async def batches(self, reading: Reading) -> AsyncIterator[RawBatch]:
        """Each run with its commands, the oldest first; one that cannot be read holds up no other."""
        told: RobotRun = reading.told
        robot, refused = self.robot(told.robot), list[RejectedError]()
        async with robot_client(robot, reading.robots[told.robot]) as client:
            chosen = [told.experiment_id] if told.experiment_id else await list_runs(client, robot)
            for run_id in chosen:
                try:
                    batch = await fetch_run(client, robot, run_id, reading.now())
                except RejectedError as error:
                    refused.append(error)
                    continue
                if batch is not None:  # else the robot has forgotten it
                    yield batch
        if refused:
            raise refused[0]

    def datasets(self, robots: Sequence[str]) -> Sequence[str]:
        """What this source gives, as URIs: the runs of each of these robots."""
        return tuple(naming.opentrons(robot) for robot in robots)

    def gives(self, dataset: str) -> bool:
        """Whether the dataset (a URI) is the runs of a robot, also of one that is known no more."""
        return dataset.startswith(naming.OPENTRONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotSource:
    """One robot, as a source of runs."""

    name: str  # what people call it; part of keys and rows
    dataset: str  # the dataset's URI, without host and port
    page_length: int = 100  # commands per page
    max_commands: int = 100_000  # per run; more is refused rather than held in memory
    patience: timedelta = timedelta(seconds=10)  # for one answer
    version: str = "*"  # the header Opentrons-Version: * or a number ≥ 2

    def __post_init__(self) -> None:
        if self.version != "*" and not (self.version.isdecimal() and int(self.version) >= 2):
            raise SettingsError(f"Opentrons-Version must be * or a number from 2 up, not {self.version!r}.")
        if self.page_length < 1:
            raise SettingsError(f"The page length of robot {self.name} must be at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """What tells one state of a run from the next."""

    robot: str
    run_id: UUID
    status: str
    commands: int  # how many the run has so far
    actions: int  # how often it was played, paused or stopped
    last_completed_at: str | None  # of the run, else of its last command; as the robot wrote it
    current: bool | None = None  # whether it is the robot's newest run

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@asynccontextmanager
async def robot_client(robot: RobotSource, url: str) -> AsyncIterator[HttpClient]:
    """A client with the header the robot asks for; `url` like `http://ot2:31950`."""
    headers = {"Opentrons-Version": robot.version, "Accept": "application/json"}
    async with http_client(f"robot {robot.name}", url, headers=headers, patience=robot.patience) as client:
        yield client


def notice_key(seen: RunSeen) -> str:
    """The idempotency key of a run as it was seen: a notice itself carries no identity."""
    last = seen.last_completed_at or "-"
    past = ":past" if seen.current is False else ""
    return f"{seen.robot}:{seen.run_id}:{seen.status}:{seen.actions}:{seen.commands}:{last}{past}"


async def list_runs(client: HttpClient, robot: RobotSource) -> Mapping[UUID, bool | None]:
    """The runs the robot still keeps, oldest first, for the slow polling beside the notices: is each current?

    Raises UnavailableError when the robot is away, RejectedError when it refuses or answers something else.
    """
    answer = await client.get("/runs")
    _refuse_errors(robot, answer)
    runs = objects(data_of(answer.body))
    if runs is None or len(runs) > MOST_RUNS:
        raise RejectedError(
            f"Robot {robot.name} answered /runs with something that is no list of its runs: check its URL."
        )
    return {run_id: _current(run) for run in runs if (run_id := _id_of(run)) is not None}


async def look(client: HttpClient, robot: RobotSource, run_id: UUID) -> RunSeen | None:
    """What `notice_key` needs, in two small requests; None when the robot no longer knows the run."""
    run_answer = await _get_known(client, robot, f"/runs/{run_id}")
    if run_answer is None:
        return None
    params = {"cursor": PAST_THE_END, "pageLength": 1}
    last = await _get_known(client, robot, f"/runs/{run_id}/commands", params)
    if last is None:
        return None
    commands = objects(data_of(last.body)) or []
    return _seen(robot, run_id, data_of(run_answer.body), commands, meta_of(last.body).get("totalLength"))


async def fetch_run(
    client: HttpClient, robot: RobotSource, run_id: UUID, asked_at: datetime
) -> RawBatch | None:
    """A run and all its commands so far; None when the robot no longer knows the run.

    Each answer is one message with its exact bytes: the run, its protocol when it has one, then the pages
    of commands. `asked_at` is now, by the one clock of all hosts that ask: of two answers the one that was
    asked for later stands. Raises UnavailableError (away, 5xx) and RejectedError (any other refusal, with the
    robot's own words).
    """
    began = monotonic()
    run_answer = await _get_known(client, robot, f"/runs/{run_id}")
    if run_answer is None:
        return None
    run = data_of(run_answer.body)
    protocol = await _protocol(client, robot, run)
    pages = await _pages(client, robot, run_id)
    if pages is None:
        return None
    answers = [run_answer, *([protocol] if protocol else []), *pages.answers]
    seen = _seen(robot, run_id, run, list(pages.commands.values()), len(pages.commands))
    return RawBatch(
        dataset=robot.dataset,
        messages=pl.DataFrame(
            {"location": [a.location for a in answers], "payload": [a.body for a in answers]},
            schema=MESSAGE_SCHEMA,
        ),
        received_at=asked_at,
        received_until=asked_at + timedelta(seconds=monotonic() - began),
        position=_position(robot, seen, _content(run_answer, protocol, pages)),
        may_repeat=True,
    )


@dataclass(slots=True)
class _Pages:
    answers: list[Answer] = field(default_factory=list)
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id, the latest observation
    unreadable: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes


async def _pages(client: HttpClient, robot: RobotSource, run_id: UUID) -> _Pages | None:
    """All pages of a run's commands; ends at the end of the list, or when a page brings nothing new."""
    pages = _Pages()
    cursor = 0
    while True:
        params = {"cursor": cursor, "pageLength": robot.page_length}
        answer = await _get_known(client, robot, f"/runs/{run_id}/commands", params)
        if answer is None:
            return None
        pages.answers.append(answer)
        pages.size += len(answer.body)
        if pages.size > MOST_BYTES:
            raise RejectedError(
                f"Run {run_id} of robot {robot.name} has over {MOST_BYTES:,} bytes of commands, which "
                "are not read: see what the robot answers."
            )
        commands, meta = objects(data_of(answer.body)), meta_of(answer.body)
        if commands is None:  # the transform rejects it, with its bytes
            pages.unreadable.append(answer.body)
            return pages
        known = len(pages.commands)
        pages.commands.update({str(command.get("id")): command for command in commands})
        if len(pages.commands) > robot.max_commands:
            raise RejectedError(
                f"Run {run_id} of robot {robot.name} has more than {robot.max_commands} commands: "
                "raise the pipeline's max_commands."
            )
        clamped = count(meta.get("cursor"), cursor)  # where it was clamped to, not where we asked
        cursor = clamped + len(commands)
        total = count(
            meta.get("totalLength"), MOST
        )  # told or not, a page that brings nothing new is the last
        if len(pages.commands) == known or cursor >= total:
            return pages


async def _protocol(client: HttpClient, robot: RobotSource, run: Any) -> Answer | None:
    """The run's protocol, for its name; a run without one, or whose protocol was deleted, is ordinary."""
    protocol_id = run.get("protocolId") if isinstance(run, dict) else None
    if not isinstance(protocol_id, str) or not 0 < len(protocol_id) <= LONGEST:
        return None
    return await _get_known(client, robot, f"/protocols/{quote(protocol_id, safe='')}")


async def _get_known(
    client: HttpClient, robot: RobotSource, path: str, params: Mapping[str, int | str] | None = None
) -> Answer | None:
    """An answer of 200, or None for 404: the robot does not know, or no longer knows, what is asked for."""
    answer = await client.get(path, params)
    if answer.status == 404:
        return None
    _refuse_errors(robot, answer)
    return answer


def _refuse_errors(robot: RobotSource, answer: Answer) -> None:
    if answer.status == 200:
        return
    said = "; ".join(error_details(answer.body))[:MOST_WORDS] or "no reason given"
    raise RejectedError(f"Robot {robot.name} answered {answer.status} to {answer.location}: {said}.")


def _seen(robot: RobotSource, run_id: UUID, run: Any, commands: list[dict[str, Any]], total: Any) -> RunSeen:
    run = run if isinstance(run, dict) else {}
    last = run.get("completedAt") or (commands[-1].get("completedAt") if commands else None)
    return RunSeen(
        robot=robot.name,
        run_id=run_id,
        status=text(run.get("status")) or "unreadable",
        commands=count(total, len(commands)),
        actions=len(objects(run.get("actions")) or []),
        last_completed_at=text(last),
        current=_current(run),
    )


def _current(run: Mapping[str, Any]) -> bool | None:
    current = run.get("current")
    return current if isinstance(current, bool) else None


def _id_of(run: Mapping[str, Any]) -> UUID | None:
    """None for an id that is no UUID, which nothing could fetch."""
    try:
        return UUID(str(run.get("id")))
    except ValueError:
        return None


def _position(robot: RobotSource, seen: RunSeen, content: str) -> Position:
    detail = {
        "robot": robot.name,
        "run_id": str(seen.run_id),
        "status": seen.status,
        "commands": seen.commands,
        "last_completed_at": seen.last_completed_at,
        "content_sha256": message_digest(content.encode()).hex(),
    }
    return Position(source=robot.dataset, detail=detail)


def _content(run: Answer, protocol: Answer | None, pages: _Pages) -> str:
    """What was seen, as one text that is the same as long as the run is the same.

    Paging, `meta` and `links` are left out, and of the protocol all but its name: its answer changes with
    every other run that uses it.
    """
    metadata = (mapping(data_of(protocol.body)).get("metadata") if protocol else None) or {}
    readable = data_of(run.body)
    return (
        canonical_json(
            {
                "run": readable if readable is not None else run.body.hex(),
                "protocol": mapping(metadata).get("protocolName"),
                "commands": list(pages.commands.values()),
                "unreadable": [body.hex() for body in pages.unreadable],
            }
        )
        .encode("utf-8", "backslashreplace")
        .decode()
    )
