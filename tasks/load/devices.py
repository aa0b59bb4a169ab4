"""The device register: who a device is, as people told us."""

import polars as pl

from infra.postgres import Pool, translated

SCHEMA = pl.Schema({"device_id": pl.String, "name": pl.String, "model": pl.String, "site": pl.String})


async def read_devices(pool: Pool) -> pl.DataFrame:
    """The register, one row per device."""
    with translated():
        rows = await pool.fetch("SELECT device_id, name, model, site FROM store.devices")
    return pl.DataFrame([tuple(row) for row in rows], schema=SCHEMA, orient="row")
