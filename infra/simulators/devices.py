"""Sensors for tests and the demo: seeded readings as real devices publish them, good and bad.

    headwater simulate devices --devices 20 --count 3000 --rate 200 --bad 0.05 --seed 7

The readings are a pure function of the arguments, so the same seed and start give the same bytes.
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

CITIES: Final = (
    (52.520, 13.405),  # Berlin
    (41.385, 2.173),  # Barcelona
    (40.713, -74.006),  # New York
    (35.676, 139.650),  # Tokyo
    (-33.869, 151.209),  # Sydney
)
"""Latitude and longitude in degrees."""
SITES: Final = ("Berlin", "Barcelona", "New York", "Tokyo", "Sydney")
MODELS: Final = ("TH-1", "THP-2", "THP-3")


@dataclass(frozen=True, slots=True)
class Published:
    """One message; `kind` is `good`, or what is wrong with it."""

    topic: str
    payload: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is published: `count` readings of `devices` devices, evenly over `span` from `start`."""

    seed: int
    devices: int
    count: int
    start: datetime  # UTC
    span: timedelta
    bad: float = 0.0  # the share of readings with something wrong, 0 to 1

    def published(self) -> Iterator[Published]:
        """The messages in the order they are published."""
        chance = random.Random(self.seed)  # noqa: S311 - not a secret
        last: dict[str, dict[str, Any]] = {}
        for number in range(self.count):
            device = device_id(number % self.devices)
            reading = self._reading(number, chance)
            spoil = chance.choice(tuple(SPOILED.values())) if chance.random() < self.bad else None
            if spoil is not None and device in last:
                yield spoil(f"sensors/{device}/readings", dict(reading), last[device])
            else:
                last[device] = reading
                yield Published(f"sensors/{device}/readings", _json(reading), "good")

    def _reading(self, number: int, chance: random.Random) -> dict[str, Any]:
        index = number % self.devices
        at = self.start + self.span * number / self.count
        hour = at.hour + at.minute / 60
        temperature = 18 + 6 * math.sin((hour - 9) / 12 * math.pi) + index % 5 + chance.gauss(0, 0.2)
        reading: dict[str, Any] = {
            "device_id": device_id(index),
            "timestamp": at.isoformat(timespec="microseconds"),
            "temperature": round(temperature, 2),
            "humidity": round(min(100.0, max(0.0, 55 - temperature / 2 + chance.gauss(0, 1.5))), 1),
        }
        if MODELS[index % len(MODELS)] != "TH-1":
            reading["pressure"] = round(1013 + 4 * math.sin(hour / 24 * math.tau) + chance.gauss(0, 0.3), 1)
        if index % 4:
            latitude, longitude = CITIES[index % len(CITIES)]
            reading["location"] = {"latitude": latitude, "longitude": longitude}
        return reading


def device_id(index: int) -> str:
    return f"sensor-{index + 1:03d}"


def register(devices: int) -> pl.DataFrame:
    """The device register: device_id, name, model, site; the last device is left out, as people do."""
    known = range(max(1, devices - 1))
    return pl.DataFrame(
        {
            "device_id": [device_id(index) for index in known],
            "name": [f"Sensor {index + 1}" for index in known],
            "model": [MODELS[index % len(MODELS)] for index in known],
            "site": [SITES[index % len(SITES)] for index in known],
        }
    )


Reading = dict[str, Any]
Spoil = Callable[[str, Reading, Reading], Published]
"""Topic, the reading, and the device's last good one."""


def _json(reading: Reading) -> bytes:
    return json.dumps(reading).encode()


def _changed(kind: str, **values: Any) -> Spoil:
    return lambda topic, reading, _last: Published(topic, _json(reading | values), kind)


def _without(kind: str, name: str) -> Spoil:
    def spoil(topic: str, reading: Reading, _last: Reading) -> Published:
        del reading[name]
        return Published(topic, _json(reading), kind)

    return spoil


def _again(topic: str, _reading: Reading, last: Reading) -> Published:
    return Published(topic, _json(last), "duplicate")


def _conflict(topic: str, _reading: Reading, last: Reading) -> Published:
    return Published(topic, _json(last | {"temperature": last["temperature"] + 1}), "conflict")


def _zoneless(topic: str, reading: Reading, _last: Reading) -> Published:
    local = str(reading["timestamp"]).removesuffix("+00:00")
    return Published(topic, _json(reading | {"timestamp": local}), "timestamp without zone")


def _cut(topic: str, reading: Reading, _last: Reading) -> Published:
    return Published(topic, _json(reading)[:-7], "not JSON")


SPOILED: Final[dict[str, Spoil]] = {
    "too hot": _changed("too hot", temperature=260.0),
    "not a number": _changed("not a number", humidity=math.nan),
    "text for a number": _changed("text for a number", temperature="warm"),
    "wrong latitude": _changed("wrong latitude", location={"latitude": 123.0, "longitude": 4.0}),
    "no device": _without("no device", "device_id"),
    "no timestamp": _without("no timestamp", "timestamp"),
    "timestamp without zone": _zoneless,
    "not JSON": _cut,
    "duplicate": _again,
    "conflict": _conflict,
}
"""Kind → how a reading is spoiled."""
