"""Counts what became of every message, with code that shares nothing with the pipeline.

Plain SQL, and the list of what was acknowledged.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import asyncpg
import polars as pl

from tests.chaos.readings import Reading, Readings
from tests.chaos.records import Records

Place = tuple[str, int]
"""A table and a batch in it."""

STORED = "SELECT device_id, timestamp, temperature, batch, sequence, part FROM store.sensor_readings"
REJECTED = "SELECT batch, sequence, part FROM store.rejected"
RAW = """
SELECT r.batch, r.dataset, r.messages, r.digests, r.layout, l.position
FROM store.raw_batches r LEFT JOIN store.ledger l USING (batch) ORDER BY r.batch
"""


@dataclass(slots=True)
class Found:
    """Where each message was found.

    `strangers`: rows that no message explains; `torn`: rows that are not from the bytes they point to;
    `datasets`: what each batch came from; `poison`: the rejected records of each bad file.
    """

    stored: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    places: Counter[Place] = field(default_factory=Counter)
    datasets: dict[int, str] = field(default_factory=dict)
    poison: Counter[str] = field(default_factory=Counter)
    strangers: int = 0
    torn: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many messages were stored, rejected, lost (in neither place) and duplicated (more than once)."""

    stored: int
    rejected: int
    lost: int
    duplicated: int


class Expected:
    """Every acknowledged message by what it would leave behind.

    `drafts`: what may be there, once; `poison`: names of files, each of which is one rejected record;
    `versions`: by its SHA-256 every content that a file had.
    """

    def __init__(
        self,
        *published: tuple[Readings, Iterable[int]],
        drafts: Iterable[Reading] = (),
        poison: Collection[str] = (),
        versions: Mapping[str, bytes] | None = None,
    ) -> None:
        self.all: dict[int, Reading] = {
            number: readings.reading(number) for readings, numbers in published for number in numbers
        }
        self.drafts = {reading.number: reading for reading in drafts}
        self.poison, self.versions = frozenset(poison), versions
        self._any = self.all | self.drafts
        self.by_payload = {reading.payload: number for number, reading in self._any.items()}
        self.by_values = {(r.key, r.temperature): number for number, r in self._any.items() if r.key}

    def verdict(self, found: Found) -> Verdict:
        """Of each key one message is stored and its rivals are rejected; what has none is rejected.

        What a tighter contract refuses may be either, once.
        """
        times = {number: found.stored[number] + found.rejected[number] for number in self._any}
        missing = {number for number in self.all if times[number] == 0}
        bad_but_stored = {number for number in found.stored if self._any[number].key is None}
        keys = {reading.key for reading in self.all.values()}
        refused = {number for number in found.rejected if self._any[number].either}
        accounted = {None, *(self._any[number].key for number in (*found.stored, *missing, *refused))}
        too_many = (*times.values(), *found.poison.values())
        return Verdict(
            stored=sum(found.stored[number] for number in self.all),
            rejected=sum(found.rejected[number] for number in self.all),
            lost=len(missing)
            + len(bad_but_stored)
            + len(keys - accounted)
            + len(self.poison - {*found.poison}),
            duplicated=sum(count - 1 for count in too_many if count > 1) + found.strangers,
        )


async def find(dsn: str, expected: Expected) -> Found:
    """Look every row up among the messages, and its bytes among the batches' bytes."""
    connection = await asyncpg.connect(dsn)
    try:
        stored = await connection.fetch(STORED)
        rejected = await connection.fetch(REJECTED)
        found, wanted = Found(), _by_batch(stored, rejected)
        async with connection.transaction():
            async for row in connection.cursor(RAW):
                found.datasets[row["batch"]] = row["dataset"]
                payloads = _payloads(row["messages"], row["digests"], found)
                position = json.loads(row["position"]) if row["position"] else {}
                found.torn += _is_of_no_version(expected, position, payloads, row["layout"])
                records, rows = Records(payloads, layout=row["layout"]), wanted.pop(row["batch"], [])
                if position.get("path") in expected.poison:
                    _look_up_poison(found, position["path"], rows, row["batch"])
                else:
                    _look_up(expected, found, records, rows, row["batch"])
    finally:
        await connection.close()
    found.torn += sum(len(rows) for rows in wanted.values())  # no bytes at all
    return found


def _by_batch(
    stored: Iterable[asyncpg.Record], rejected: Iterable[asyncpg.Record]
) -> dict[int, list[tuple[str, asyncpg.Record]]]:
    rows: dict[int, list[tuple[str, asyncpg.Record]]] = {}
    for table, records in (("sensor_readings", stored), ("rejected", rejected)):
        for record in records:
            rows.setdefault(record["batch"], []).append((table, record))
    return rows


def _payloads(messages: bytes, digests: bytes, found: Found) -> list[bytes]:
    """The messages of a batch, each compared with its SHA-256."""
    payloads = pl.read_ipc(BytesIO(messages))["payload"].to_list()
    sums = [digests[start : start + 32] for start in range(0, len(digests), 32)]
    found.torn += sum(hashlib.sha256(p).digest() != s for p, s in zip(payloads, sums, strict=True))
    return payloads


def _is_of_no_version(
    expected: Expected, position: Mapping[str, Any], payloads: Sequence[bytes], layout: str | None
) -> bool:
    """Whether a part of a file is not from the content whose hash it bears."""
    if expected.versions is None or "sha256" not in position:
        return False
    content = expected.versions.get(position["sha256"])
    if content is None:
        return True
    is_text = layout is not None and json.loads(layout)["format"] != "parquet"
    return is_text and payloads[-1] != content[position["from"] : position["to"]]


def _look_up_poison(found: Found, name: str, rows: Iterable[tuple[str, asyncpg.Record]], batch: int) -> None:
    """Nothing of a bad file may be stored."""
    for table, _ in rows:
        found.places[table, batch] += 1
        if table == "rejected":
            found.poison[name] += 1
        else:
            found.strangers += 1


def _look_up(
    expected: Expected,
    found: Found,
    records: Records,
    rows: Iterable[tuple[str, asyncpg.Record]],
    batch: int,
) -> None:
    for table, row in rows:
        found.places[table, batch] += 1
        by_bytes = expected.by_payload.get(records.payload(row["sequence"], row["part"]))
        if table == "sensor_readings":
            values = ((row["device_id"], row["timestamp"]), row["temperature"])
            number = expected.by_values.get(values)
            found.torn += number != by_bytes
        else:
            number = by_bytes
        if number is None:
            found.strangers += 1
        else:
            (found.stored if table == "sensor_readings" else found.rejected)[number] += 1
