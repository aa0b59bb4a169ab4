"""Reads one event of somebody's: what the record needs of it, or one sentence that says what is wrong.

An event is a run event, a job event (no run) or a dataset event (no job). Only what lineage is made of is
checked; everything else of the event is kept as it came, see `keep.py`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ..errors import RejectedError
from .names import Name

STATES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")

Facets = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset an event speaks of; `facets` are all of it, those of input and output included."""

    name: Name
    facets: Facets


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `state` is None where the producer does not say."""

    at: datetime
    producer: str
    state: str | None
    run_id: UUID | None
    run_facets: Facets = field(default_factory=dict)
    job: Name | None
    job_facets: Facets = field(default_factory=dict)
    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()
    datasets: tuple[Dataset, ...] = ()  # of a dataset event

    def facets(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Every facet: where it stands, its name, its content."""
        groups = [("run", self.run_facets), ("job", self.job_facets)]
        groups += [(f"input {each.name.name}", each.facets) for each in self.inputs]
        groups += [(f"output {each.name.name}", each.facets) for each in self.outputs]
        groups += [(f"dataset {each.name.name}", each.facets) for each in self.datasets]
        for where, facets in groups:
            for name, content in facets.items():
                yield where, name, content


def read(document: bytes) -> Event:
    """The event a JSON document holds; raises RejectedError with what is wrong with it."""
    try:
        content = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise RejectedError(f"The event is not JSON: {error}.") from error
    event = _object(content, "the event")
    run, job = event.get("run"), event.get("job")
    if run is None and job is None and event.get("dataset") is None:
        raise RejectedError("The event has neither a run, a job nor a dataset.")
    if run is not None and job is None:
        raise RejectedError("The event has a run and no job.")
    if job is None and (event.get("inputs") or event.get("outputs")):
        raise RejectedError("The event has inputs or outputs and no job.")
    return Event(
        at=_moment(event.get("eventTime")),
        producer=_text(event.get("producer"), "producer"),
        state=_state(event.get("eventType")),
        run_id=None if run is None else _id(_object(run, "run").get("runId")),
        run_facets=_facets(run, "run"),
        job=None if job is None else _name(_object(job, "job"), "job"),
        job_facets=_facets(job, "job"),
        inputs=_datasets(event.get("inputs"), "inputs"),
        outputs=_datasets(event.get("outputs"), "outputs"),
        datasets=() if event.get("dataset") is None else _datasets([event["dataset"]], "dataset"),
    )


def _datasets(given: Any, what: str) -> tuple[Dataset, ...]:
    if not isinstance(given, list | None):
        raise RejectedError(f"The event's {what} is not a list.")
    found = []
    for number, each in enumerate(given or ()):
        where = f"{what}[{number}]"
        dataset = _object(each, where)
        facets = {**_facets(dataset, where)}
        for more in ("inputFacets", "outputFacets"):
            facets |= _facets(dataset, where, more)
        found.append(Dataset(_name(dataset, where), facets))
    return tuple(found)


def _facets(holder: Any, where: str, which: str = "facets") -> Facets:
    facets = _object((holder or {}).get(which) or {}, f"{where}.{which}")
    return {name: _object(content, f"{where}.{which}.{name}") for name, content in facets.items()}


def _object(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise RejectedError(f"In the event, {what} is not an object.")
    return given


def _name(holder: Mapping[str, Any], where: str) -> Name:
    namespace = _text(holder.get("namespace"), f"{where}.namespace")
    return Name(namespace, _text(holder.get("name"), f"{where}.name"))


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str) or not given:
        raise RejectedError(f"The event has no {what}.")
    return given


def _moment(given: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(given, "eventTime"))
        # A time without a zone is against the specification; producers that send one mean UTC.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RejectedError(f"The event's eventTime is not a time: {error}.") from error


def _state(given: Any) -> str | None:
    if given is not None and given not in STATES:
        raise RejectedError(f"The event's eventType {given!r} is none of {', '.join(STATES)}.")
    return given if given is None else str(given)


def _id(given: Any) -> UUID:
    try:
        return UUID(_text(given, "run.runId"))
    except ValueError as error:
        raise RejectedError("The event's run.runId is not a UUID.") from error
