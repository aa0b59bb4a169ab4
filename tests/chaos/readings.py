"""Numbered readings, good and bad: a pure function of a seed, so that nothing need be kept to count them."""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

DEVICES = 20
NEAR = 50  # how far back the reading may be whose key a rival takes


class Kind(StrEnum):
    """What is to become of a reading."""

    GOOD = "good"  # stored, unless a rival came first
    RIVAL = "rival"  # the key of an earlier one with another value: one of the two is stored, one rejected
    TORN = "torn"  # no JSON: rejected
    IMPOSSIBLE = "impossible"  # a temperature that the contract refuses: rejected


WEIGHTS = {Kind.GOOD: 90, Kind.RIVAL: 4, Kind.TORN: 3, Kind.IMPOSSIBLE: 3}

Key = tuple[str, datetime]
"""Device and time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Message `number`; `key` is None where it must be rejected whatever else is stored."""

    number: int
    topic: str
    payload: bytes
    key: Key | None
    temperature: float


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of a seed; the first was measured at `start`, each other one a millisecond later."""

    seed: int
    start: datetime

    def kind(self, number: int) -> Kind:
        return self._draw(number)[0]

    def rivals(self, number: int) -> int | None:
        """The earlier number whose key this one takes."""
        kind, back = self._draw(number)
        if kind is Kind.RIVAL and number >= back and self.kind(number - back) is Kind.GOOD:
            return number - back
        return None

    def reading(self, number: int) -> Reading:
        kind, rivalled = self.kind(number), self.rivals(number)
        keyed = number if rivalled is None else rivalled
        key = (f"d{keyed % DEVICES}", self.start + timedelta(milliseconds=keyed))
        temperature = 1000.0 if kind is Kind.IMPOSSIBLE else 15 + number % 1000 / 100
        body = {"device_id": key[0], "timestamp": key[1].isoformat(), "temperature": temperature, "n": number}
        payload = json.dumps(body).encode()
        if kind is Kind.TORN:
            payload = payload[:-1]
        stands = kind in (Kind.GOOD, Kind.RIVAL)
        return Reading(number, f"sensors/{key[0]}/readings", payload, key if stands else None, temperature)

    def _draw(self, number: int) -> tuple[Kind, int]:
        """The kind, and how far back the rivalled reading is."""
        chance = random.Random(f"{self.seed}:{number}")  # noqa: S311 -- not a secret
        return chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0], chance.randint(1, NEAR)
