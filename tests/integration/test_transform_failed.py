"""A transform that fails on one message: that one is rejected with its bytes, and the others are stored."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from flows.acts.replay import replay
from flows.catalog import Catalog
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.settings import load
from tasks.batch import RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.look.rejected_queries import Which
from tasks.transform.transforms import Parameters, transform
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import message
from tests.fixtures.listening import SENSORS, Listeners
from tests.fixtures.waiting import until_stored

POISON = ("sensors/a/readings", b"poison")


def fragile(batch: RawBatch, reference: Reference, contracts: Mapping[str, Contract]) -> Refined:
    """The readings' own transform, with a mistake in it."""
    if POISON[1] in batch.messages["payload"]:
        raise pl.exceptions.PanicException("assertion failed")
    return transform("readings").bind(contracts, Parameters(source_name="fragile", steps=SENSORS.steps))(
        batch, reference
    )


async def test_it_is_rejected_alone_and_ends_no_listener(
    listeners: Listeners, connection: Connection
) -> None:
    pipeline = SENSORS.model_copy(update={"transform": f"{__name__}:fragile"})
    async with listeners.run(pipeline), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([message("a", second) for second in range(5)])
        await publisher.publish_many([POISON, *(message("a", second) for second in range(5, 10))])
        await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 11)
        await publisher.publish_many([message("b", 1)])
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 11)
    row = await connection.fetchrow(
        "SELECT stage, rules, message FROM rejected JOIN raw_batches USING (batch)"
    )
    assert row is not None
    assert (row["stage"], row["rules"]) == ("validate", ["transform.failed"])
    assert "PanicException: assertion failed" in row["message"]


async def test_a_replay_under_a_transform_that_still_fails_leaves_it_and_under_a_mended_one_judges_it(
    listeners: Listeners, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = SENSORS.model_copy(update={"transform": f"{__name__}:fragile"})
    async with listeners.run(pipeline), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([POISON])
        await until_stored(connection, "SELECT count(*) FROM rejected", 1)
    settings = load(home=tmp_path, postgres_dsn=listeners.dsn)

    async def replayed(catalog: Catalog) -> dict[str, int]:
        which = Which(rule="transform.failed")
        return await replay(settings, catalog, which, dry_run=False, tell=lambda *_: None)

    fragile = replace(SHIPPED, pipelines={"sensors": pipeline})
    assert (await replayed(fragile))["batches"] == 0
    assert await connection.fetchval("SELECT rules FROM rejected") == ["transform.failed"]
    assert (await replayed(SHIPPED))["rejected"] == 1
    assert await connection.fetchval("SELECT rules FROM rejected") == ["payload.json"]
