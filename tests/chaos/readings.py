"""Numbered readings, good and bad: a pure function of a seed, so that nothing need be kept to count them."""

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tests.chaos.ways import FILES, MQTT, Way

DEVICES = 20
NEAR = 50  # how far back the reading may be whose key a rival takes
PER_FILE = 150  # readings
HEADER = "device_id,timestamp,temperature,n"
DRAFTS = 1_000_000_000  # added to a reading's number: what stood in its place before its file was edited
DRAFT_DEVICE = "e"


class Kind(StrEnum):
    """What is to become of a reading."""

    GOOD = "good"  # stored, unless a rival came first
    RIVAL = "rival"  # the key of an earlier one with another value: one of the two is stored, one rejected
    EDGE = "edge"  # stored under the first contract, rejected under the one it is tightened to
    TORN = "torn"  # no JSON, a line that is too short, a row without a device: rejected
    IMPOSSIBLE = "impossible"  # a temperature that every contract refuses: rejected


WEIGHTS = {Kind.GOOD: 88, Kind.RIVAL: 4, Kind.EDGE: 2, Kind.TORN: 3, Kind.IMPOSSIBLE: 3}


class Format(StrEnum):
    """How a reading is written."""

    JSON = "json"  # a message, or a line of a file
    CSV = "csv"
    PARQUET = "parquet"


IN_FILES = (Format.CSV, Format.JSON, Format.PARQUET)
"""The formats of the files, in turn."""

Key = tuple[str, datetime]
"""Device and time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Message, line or row `number`; `key` is None where it must be rejected whatever else is stored.

    `either`: it may be stored or rejected. `values`: device (None: torn), time, temperature.
    """

    number: int
    topic: str
    payload: bytes
    key: Key | None
    either: bool
    values: tuple[str | None, datetime, float]

    @property
    def temperature(self) -> float:
        return self.values[2]


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of a seed on one way; the first was measured at `start`, each other one 1 ms later."""

    seed: int
    start: datetime
    way: Way = MQTT

    def kind(self, number: int) -> Kind:
        return self._draw(number)[0]

    def rivals(self, number: int) -> int | None:
        """The earlier number whose key this one takes."""
        kind, back = self._draw(number)
        if kind is Kind.RIVAL and number - back >= self.way.first and self.kind(number - back) is Kind.GOOD:
            return number - back
        return None

    def has_rival(self, number: int) -> bool:
        """Whether a later one takes its key."""
        return any(self.rivals(later) == number for later in range(number + 1, number + NEAR + 1))

    def format(self, number: int) -> Format:
        if self.way is not FILES:
            return Format.JSON
        return IN_FILES[(number - self.way.first) // PER_FILE % len(IN_FILES)]

    def reading(self, number: int) -> Reading:
        kind, rivalled = self.kind(number), self.rivals(number)
        keyed = number if rivalled is None else rivalled
        device = f"{self.way.device}{keyed % DEVICES}"
        at = self.start + timedelta(milliseconds=keyed - self.way.first)
        torn, stands = kind is Kind.TORN, kind in (Kind.GOOD, Kind.RIVAL, Kind.EDGE)
        return Reading(
            number=number,
            topic=f"sensors/{device}/readings",
            payload=_written(self.format(number), number, device, at, _temperature(kind, number), torn),
            key=(device, at) if stands else None,
            either=kind is Kind.EDGE,
            values=(None if torn else device, at, _temperature(kind, number)),
        )

    def _draw(self, number: int) -> tuple[Kind, int]:
        """The kind, and how far back the rivalled reading is."""
        chance = random.Random(f"{self.seed}:{number}")  # noqa: S311 -- not a secret
        return chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0], chance.randint(1, NEAR)


def _temperature(kind: Kind, number: int) -> float:
    given = {Kind.IMPOSSIBLE: 1000.0, Kind.EDGE: 90.0}
    return given.get(kind, 15 + number % 1000 / 100)


def _written(
    text_format: Format, number: int, device: str, at: datetime, temperature: float, torn: bool
) -> bytes:
    """Its bytes; of a row of Parquet, which has none, a line that says the same (`row_payload`)."""
    if text_format is Format.PARQUET:
        return row_payload(None if torn else device, at, temperature, number)
    if text_format is Format.CSV:
        return (f"{number},torn" if torn else f"{device},{at.isoformat()},{temperature},{number}").encode()
    body = {"device_id": device, "timestamp": at.isoformat(), "temperature": temperature, "n": number}
    payload = json.dumps(body).encode()
    return payload[:-1] if torn else payload


def draft_of(reading: Reading) -> Reading:
    """What stood in a file of text in its place before it was edited: as many bytes, of another device.

    Its key is another one, so that neither can be rejected for the other's sake.
    """
    number, device = reading.number + DRAFTS, reading.topic.split("/")[1]
    other = device.replace(FILES.device, DRAFT_DEVICE, 1)
    payload = reading.payload.replace(device.encode(), other.encode(), 1)
    named, at, temperature = reading.values
    return replace(
        reading,
        number=number,
        payload=payload.replace(str(reading.number).encode(), str(number).encode(), 1),
        key=reading.key and (other, reading.key[1]),
        values=(named and other, at, temperature),
    )


def row_payload(device: str | None, at: datetime, temperature: float, number: int) -> bytes:
    """A row of Parquet as one line."""
    return f"row {device} {at.isoformat()} {temperature} {number}".encode()
