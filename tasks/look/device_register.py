"""The device register: who a device is, as people told us."""

import polars as pl

from infra.postgres import Connection, Pool, translated
from lineage import query_files

SCHEMA = pl.Schema({"device_id": pl.String, "name": pl.String, "model": pl.String, "site": pl.String})
"""One row per device; the transforms take it under the name `devices`."""

# Devices that are new or changed; the others are left as they are.
_UPSERT = query_files.read(__package__, "upsert_devices.sql")


async def load_devices(pool: Pool, devices: pl.DataFrame) -> int:
    """Put devices (SCHEMA, n; each device once) into the register; returns how many were new or changed."""
    with translated():
        rows = await pool.fetch(_UPSERT, *(devices[name].to_list() for name in SCHEMA))
    return len(rows)


async def read_devices(asked: "Pool | Connection") -> pl.DataFrame:
    """The whole register (SCHEMA, n), by device."""
    with translated():
        rows = await asked.fetch(f"SELECT {', '.join(SCHEMA)} FROM store.devices ORDER BY device_id")
    return pl.DataFrame([tuple(row) for row in rows], schema=SCHEMA, orient="row")
