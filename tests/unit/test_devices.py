"""The simulated devices: the same bytes for the same seed, and each bad kind is what it says."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from infra.simulators.devices import SPOILED, Published, Simulation, register
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference, Refined
from tasks.decode.messages import Decoder
from tasks.transform import records
from tasks.transform.steps.lookup import DEVICES
from tests.fixtures.catalogs import contract as contract_of
from tests.fixtures.readings import steps_of

START = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
CONTRACT = contract_of("sensor_readings")
STEPS = steps_of(CONTRACT, "sensors")

RULES = {
    "too hot": {"temperature.range"},
    "not a number": {"humidity.finite"},
    "text for a number": {"temperature.type"},
    "wrong latitude": {"latitude.range"},
    "no device": {"device_id.required"},
    "no timestamp": {"timestamp.required"},
    "timestamp without zone": {"timestamp.zone"},
    "not JSON": {"payload.json"},
    "conflict": {"key.conflict"},
}


def published(bad: float, seed: int = 7) -> list[Published]:
    simulation = Simulation(seed=seed, devices=20, count=2_000, start=START, span=timedelta(hours=3), bad=bad)
    return list(simulation.published())


def refined(messages: list[Published]) -> Refined:
    frame = pl.DataFrame(
        [(each.topic, each.payload) for each in messages], schema=MESSAGE_SCHEMA, orient="row"
    )
    now = START + timedelta(hours=4)
    batch = RawBatch(dataset="mqtt:sensors/+/readings", messages=frame, received_at=now, received_until=now)
    reference = Reference(frames={"devices": register(20)})
    return records.refine(batch, reference, Decoder(CONTRACT), steps=STEPS)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert published(0.1) == published(0.1)
    assert published(0.1) != published(0.1, seed=8)


def test_good_readings_are_accepted() -> None:
    outcome = refined(published(0.0))
    rows = outcome.accepted["sensor_readings"]
    assert rows.height == 2_000
    assert rows["place"].n_unique() > 3
    assert rows["timestamp"].dt.hour().n_unique() == 3
    assert rows.filter(pl.col("device_name").is_null())["device_id"].unique().to_list() == ["sensor-020"]


def test_every_bad_kind_comes_and_is_what_it_says() -> None:
    messages = published(0.2)
    kinds = Counter(each.kind for each in messages)
    assert set(kinds) == {"good", *SPOILED}
    outcome = refined(messages)
    found: dict[str, set[str]] = {}
    for row in outcome.rejected.iter_rows(named=True):
        found.setdefault(messages[row["sequence"]].kind, set()).update(row["rules"])
    for kind, rules in RULES.items():
        assert rules <= found.get(kind, set()), kind
    assert outcome.duplicates == kinds["duplicate"]
    assert outcome.accepted["sensor_readings"].height == kinds["good"]


@pytest.mark.parametrize("count", [1, 5])
def test_a_register_of_few_devices(count: int) -> None:
    assert register(count).schema == DEVICES.row_schema
