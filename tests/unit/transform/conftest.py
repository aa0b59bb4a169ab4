"""Messages of devices and the way to refine them, shared by the tests of the transforms."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.batch import Reference, Refined
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.pattern import topic_pattern
from tasks.transform.records import refine
from tasks.transform.steps.lookup import DEVICES
from tests.fixtures.catalogs import contract as contract_of
from tests.fixtures.readings import TOPIC, raw_batch, steps_of

REPOSITORY = Path(__file__).resolve().parents[3]


Refine = Callable[..., Refined]


@pytest.fixture(scope="session")
def contract() -> Contract:
    return contract_of("sensor_readings")


@pytest.fixture
def refined(contract: Contract) -> Refine:
    """`refined(*payloads, topics=…, devices=…)`: one batch, refined."""

    def run(*payloads: bytes, topics: str | Sequence[str] = TOPIC, devices: Any = ()) -> Refined:
        register = pl.DataFrame(list(devices), DEVICES.row_schema, orient="row")
        reference = Reference(frames={"devices": register})
        pattern = topic_pattern("sensors/{device_id}/readings")
        batch = raw_batch(payloads, topics)
        return refine(batch, reference, Decoder(contract), pattern, steps_of(contract, "lab sensors"))

    return run


@pytest.fixture
def rules(refined: Refine) -> Callable[..., list[str]]:
    """The rules that one message breaks; fails if they differ in a batch large enough for the fast way."""

    def broken(payload: bytes, topic: str = TOPIC) -> list[str]:
        alone = refined(payload, topics=topic).rejected
        many = refined(*[payload] * 500, topics=topic)
        crowd = many.rejected["rules"].to_list()
        verdict: list[str] = alone["rules"].to_list()[0] if alone.height else []
        assert crowd == ([verdict] * 500 if verdict else [])
        assert many.duplicates == (0 if verdict else 499)
        return verdict

    return broken


@pytest.fixture(scope="session")
def room_samples() -> list[tuple[float, float, float]]:
    """Temperature (°C), humidity (%) and humidity ratio (kg/kg): a real room's where the data is there."""
    folder = Path(os.environ.get("HEADWATER_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / "room" / "datatest.txt"
    if not path.exists():
        return [
            (t, float(rh), _humidity_ratio(t, rh)) for t in (5.0, 20.0, 24.4, 35.0) for rh in (20, 55, 90)
        ]
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return [(float(row[2]), float(row[3]), float(row[6])) for row in lines]


def _humidity_ratio(temperature: float, humidity: float) -> float:
    """By Tetens' formula for the vapour pressure in hPa, at 1013.25 hPa."""
    vapour = humidity / 100 * 6.1078 * 10 ** (7.5 * temperature / (237.3 + temperature))
    return 0.622 * vapour / (1013.25 - vapour)
