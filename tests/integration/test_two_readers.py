"""Two pipelines over one dataset: each judges, limits and writes what it read itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from flows.acts.recall import Order, recalled
from flows.acts.replay import replay
from flows.catalog import Catalog
from flows.process.limits import at_limit, waiting
from infra import key_file
from infra.postgres import Pool, open_pool
from infra.settings import Settings
from infra.settings import load as settings_of
from lineage.errors import NotFoundError, RejectedError
from lineage.model import Run
from lineage.proof.batches import verify_batch
from tasks.again.recall import Selection
from tasks.batch import Receipt
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.look.rejected_queries import Which
from tasks.look.status import open_rejected
from tasks.look.verify import stored_shapes
from tasks.tables.tables import prepare_table
from tests.fixtures import catalogs
from tests.fixtures.commit import REFERENCE, a_batch, message

FIRST, SECOND = "sensors", "again"  # the second is before the first in the alphabet
TABLES = {FIRST: "sensor_readings", SECOND: "readings_again"}
WARM = message("a", 1, temperature=150.0)


@dataclass
class House:
    """Both pipelines in a catalog of their own, and one Postgres."""

    settings: Settings
    pool: Pool
    store: Store
    pipelines: Path

    @property
    def catalog(self) -> Catalog:
        return catalogs.read(self.pipelines)

    async def take(self, name: str, *messages: tuple[str, bytes], may_repeat: bool = False) -> Receipt:
        pipeline = self.catalog.pipeline(name)
        run = Run(id=uuid4(), kind="listener", name="test", started_at=datetime.now(UTC))
        batch, plan = a_batch(*messages, may_repeat=may_repeat), pipeline.load_plan(run)
        refined = pipeline.refine()(batch, REFERENCE)
        return await load(self.store, plan, prepare(batch, refined, plan))

    def allow(self, name: str, maximum: float) -> None:
        path = self.pipelines / "sensors" / "tables" / f"{TABLES[name]}.yaml"
        contract = yaml.safe_load(path.read_text())
        contract["columns"]["temperature"]["maximum"] = maximum
        path.write_text(yaml.safe_dump(contract, sort_keys=False))

    async def replay(self, stand_in: str | None = None) -> dict[str, int]:
        return await replay(
            self.settings, self.catalog, Which(), dry_run=False, tell=lambda *_: None, stand_in=stand_in
        )

    async def stored(self) -> dict[str, list[float]]:
        query = "SELECT temperature FROM {} ORDER BY 1"
        return {
            name: [row["temperature"] for row in await self.pool.fetch(query.format(table))]
            for name, table in TABLES.items()
        }

    async def waits(self) -> dict[str, int]:
        return {name: await waiting(self.pool, self.catalog.pipeline(name)) for name in TABLES}

    async def forget_readers(self) -> None:
        """As a store from before it was written down who read a batch."""
        await self.pool.execute("ALTER TABLE store.ledger DISABLE TRIGGER USER")
        await self.pool.execute("UPDATE store.ledger SET pipeline = NULL")

    async def proves(self) -> None:
        async with self.pool.acquire() as connection:
            shapes = await stored_shapes(connection)
            for row in await connection.fetch("SELECT batch FROM ledger"):
                await verify_batch(connection, row["batch"], shapes, key_file.read(self.settings.digest_keys))


@pytest.fixture
async def house(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[House]:
    pipelines = catalogs.copied(tmp_path)
    sensors, tables = pipelines / "sensors", pipelines / "sensors" / "tables"
    for other in (pipelines / "robots" / "experiments.yaml", *sensors.glob("sensors-*.yaml")):
        other.unlink()
    first = yaml.safe_load((sensors / "sensors.yaml").read_text())
    second = {**first, "tables": [{**first["tables"][0], "name": TABLES[SECOND]}]}
    catalogs.written(sensors / f"{SECOND}.yaml", second)
    contract = yaml.safe_load((tables / "sensor_readings.yaml").read_text())
    catalogs.written(tables / f"{TABLES[SECOND]}.yaml", contract)
    async with open_pool(postgres_dsn, application="test") as pool:
        async with pool.acquire() as connection:
            for each in catalogs.read(pipelines).contracts.values():
                await prepare_table(connection, each)  # type: ignore[arg-type]
        async with Store(postgres_dsn, pool, application="test") as store:
            yield House(settings_of(home=tmp_path, postgres_dsn=postgres_dsn), pool, store, pipelines)


async def test_a_record_that_both_reject_waits_for_both_and_each_replays_its_own(house: House) -> None:
    for name in (FIRST, SECOND):
        assert (await house.take(name, WARM)).rejected == 1
    assert await house.waits() == {FIRST: 1, SECOND: 1}
    house.allow(FIRST, 200.0)
    assert (await house.replay())["accepted"] == 1
    assert await house.stored() == {FIRST: [150.0], SECOND: []}
    assert await house.waits() == {FIRST: 0, SECOND: 1}
    house.allow(SECOND, 200.0)
    assert (await house.replay())["accepted"] == 1
    assert await house.stored() == {FIRST: [150.0], SECOND: [150.0]}
    for name in (FIRST, SECOND):
        again = await house.take(name, WARM, may_repeat=True)
        assert (again.duplicates, again.rejected) == (1, 0)
    await house.proves()


async def test_a_verdict_of_one_pipeline_is_none_of_the_other(house: House) -> None:
    house.allow(SECOND, 200.0)
    assert (await house.take(FIRST, WARM)).rejected == 1
    taken = await house.take(SECOND, WARM, may_repeat=True)
    assert (taken.accepted, taken.duplicates) == ({TABLES[SECOND]: 1}, 0)
    assert await house.waits() == {FIRST: 1, SECOND: 0}
    await house.proves()


async def test_a_reprocess_writes_into_the_table_of_who_read_the_batch(house: House) -> None:
    warm = message("a", 1, temperature=60.0)
    for name in (FIRST, SECOND):
        await house.take(name, warm)
    house.allow(FIRST, 50.0)
    order = Order(kinds=("reprocess",), reason="a bad probe", by_whom="ada", apply=True)
    await recalled(house.settings, house.catalog, Selection(device="a"), order)
    assert await house.stored() == {FIRST: [], SECOND: [60.0]}
    assert await house.waits() == {FIRST: 1, SECOND: 0}
    await house.proves()


async def test_the_limit_of_one_pipeline_is_not_reached_by_the_other(house: House) -> None:
    await house.take(FIRST, *(message("a", second, temperature=150.0) for second in range(3)))
    found = await open_rejected(house.pool)
    assert found == {("mqtt:sensors/+/readings", FIRST): 3}
    assert at_limit(house.catalog, dict.fromkeys(found, 1000000)) == (
        "sensors is not read: 1,000,000 rejected records wait and its limit is 1,000,000. "
        "Replay or drop them: `headwater rejected ls` lists them.",
    )


async def test_records_from_before_ask_for_the_pipeline_where_there_are_two(house: House) -> None:
    await house.take(FIRST, WARM)
    await house.forget_readers()
    house.allow(FIRST, 200.0)
    with pytest.raises(RejectedError, match=r"read by again, sensors, .*: say it by --pipeline"):
        await house.replay()
    with pytest.raises(NotFoundError, match=r"No pipeline experiments reads .*: choose again, sensors"):
        await house.replay("experiments")
    assert (await house.replay(FIRST))["accepted"] == 1
    assert await house.stored() == {FIRST: [150.0], SECOND: []}


async def test_a_pipeline_that_is_gone_is_not_replaced_in_silence(house: House) -> None:
    await house.take(FIRST, WARM)
    (house.pipelines / "sensors" / "sensors.yaml").unlink()
    house.allow(SECOND, 200.0)
    with pytest.raises(NotFoundError, match=r"sensors, which read .*, does not read it any more"):
        await house.replay()
    assert (await house.replay(SECOND))["accepted"] == 1
    assert await house.stored() == {FIRST: [], SECOND: [150.0]}
