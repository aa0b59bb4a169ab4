"""The device register: loaded from a file by people, looked up by the pipelines."""

import polars as pl

from flows.process import stores
from infra.settings import Settings
from tasks.look.device_register import load_devices, read_devices


async def register(settings: Settings, devices: pl.DataFrame) -> int:
    """Put devices into the register; returns how many were new or changed."""
    await stores.prepare_tables(settings, [])
    async with stores.open_store(settings, "devices") as store:
        return await load_devices(store.pool, devices)


async def registered(settings: Settings) -> pl.DataFrame:
    """The device register, by device."""
    async with stores.open_store(settings, "devices") as store:
        return await read_devices(store.pool)
