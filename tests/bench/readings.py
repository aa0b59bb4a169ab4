"""The readings that are measured with: one template, devices in turn, values that differ."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

DEVICES = 1_000
Quality = Literal["good", "one in a hundred bad", "bad"]


def register(devices: int = DEVICES) -> pl.DataFrame:
    """The device register: device_id, name, model and site of each."""
    names = [f"device-{number:04}" for number in range(devices)]
    return pl.DataFrame({"device_id": names, "name": names, "model": "m1", "site": "lab"})


STEP = timedelta(milliseconds=1)


def readings(
    count: int, until: datetime | None = None, step: timedelta = STEP, devices: int = DEVICES
) -> pl.DataFrame:
    """`count` readings in order of time, `step` apart, up to `until` (now), of the devices in turn."""
    start = (until or datetime.now(UTC)) - step * count
    number = pl.int_range(count, eager=True).alias("number")
    device = number % devices
    return pl.DataFrame(number).select(
        device_id=pl.lit("device-") + device.cast(pl.String).str.zfill(4),
        timestamp=pl.lit(start) + pl.col("number") * pl.lit(step),
        temperature=18 + (number * 7919 % 1500) / 100,
        humidity=30 + (number * 104_729 % 4000) / 100,
        pressure=990 + (number * 1_299_709 % 3000) / 100,
        latitude=48 + device % 1000 / 1000,
        longitude=11 + (device % 37) / 100,
    )


def payloads(rows: pl.DataFrame, quality: Quality = "good") -> list[tuple[bytes, bytes]]:
    """Topic and payload of each reading, about 190 bytes; a bad one is too hot or, in turn, no JSON."""
    number = pl.int_range(rows.height, eager=True)
    every = {"good": 0, "one in a hundred bad": 100, "bad": 1}[quality]
    bad = (number % every == 0) if every else pl.repeat(False, rows.height, eager=True)
    torn = bad & (number // max(every, 1) % 2 == 1)
    rows = rows.with_columns(temperature=pl.when(bad).then(pl.lit(999.0)).otherwise("temperature"))
    body = rows.select(_template()).to_series()
    body = pl.select(pl.when(torn).then(body.str.head(-1)).otherwise(body)).to_series()
    topics = ("sensors/" + rows["device_id"] + "/readings").cast(pl.Binary)
    return list(zip(topics, body.cast(pl.Binary), strict=True))


def _template() -> pl.Expr:
    return pl.format(
        '{{"device_id":"{}","timestamp":"{}","temperature":{},"humidity":{},"pressure":{},'
        '"location":{{"latitude":{},"longitude":{}}}}}',
        "device_id",
        pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        "temperature",
        "humidity",
        "pressure",
        "latitude",
        "longitude",
    )
