"""What a batch says of its rejected records is the same before they are stored and read back after."""

from datetime import UTC, datetime

import polars as pl

from lineage.digest import sum_of
from lineage.keys import KeyRing, new_key
from lineage.rejected import RECORD, record_hashes, sum_of_new

KEY = new_key()
KEYS = KeyRing({KEY.id: KEY}, KEY)
STORED = {**RECORD, "identity": pl.Binary(), "rules": pl.List(pl.String)}
FIRST = {
    "identity": bytes(range(32)),
    "batch": 7,
    "raw_batch": None,
    "sequence": 0,
    "part": None,
    "dataset": "mqtt:sensors/+/readings",
    "location": "sensors/ä/readings",
    "stage": "validate",
    "rules": ["temperature.range", 'odd "name" ü'],
    "error_type": "range",
    "message": "temperature is outside -50 to 100 °C.",
    "table_name": "sensor_readings",
    "key": '{"device_id":"ä"}',
    "input_hash": -(1 << 63),
    "contract": 3,
    "rejected_at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
}
SECOND = FIRST | {
    "identity": bytes(32),
    "raw_batch": 3,
    "part": 4,
    "key": None,
    "input_hash": None,
    "rules": [],
}


def test_the_sum_is_that_of_the_records_read_back() -> None:
    records = [FIRST, SECOND]
    for made in ((2, KEY.id), (2, None)):
        judged = [
            record | dict(zip(("digest_version", "digest_key"), made, strict=True)) for record in records
        ]
        read_back = record_hashes(judged, KEYS)
        key = KEYS.named(made[1])
        assert sum_of_new(pl.DataFrame(records, STORED), key) == sum_of(pl.Series(read_back, dtype=pl.Int64))


def test_every_value_counts() -> None:
    other = {
        name: pl.DataFrame([FIRST | {name: SECOND[name]}], STORED)
        for name in SECOND
        if SECOND[name] != FIRST[name]
    }
    sums = [sum_of_new(each, KEY) for each in other.values()]
    assert len({sum_of_new(pl.DataFrame([FIRST], STORED), KEY), *sums}) == len(other) + 1
