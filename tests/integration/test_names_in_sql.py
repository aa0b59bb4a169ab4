"""A table `order` whose columns are named like words of SQL and like ours inside: nothing is mixed up."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from console.asked import trace
from flows.acts import aggregates, proof, recall, replay
from flows.catalog import Catalog
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection, open_pool
from infra.settings import Settings, load
from lineage.model import Run
from tasks.again.recall import Selection
from tasks.look.rejected_queries import Which
from tasks.tables.partitions import missing_ahead
from tests.fixtures import catalogs
from tests.fixtures.graph import graph_settings
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

INSIDE = (
    *("rules", "key", "matched", "own", "stands", "row", "digest", "bucket", "hour", "text", "payload"),
    *("message", "stage", "table", "location", "identity", "rows", "s", "g", "q", "a", "t", "changed"),
    *("latitude_cell", "latitude_cell_right", "device_name_right", "h0", "named", "computed", "made"),
)
"""Names that statements and frames of ours give to something else."""

CONTRACT = f"""
version: 1
key: [group, time]
time: time
columns:
  group: {{type: text}}
  time: {{type: timestamp}}
  user: {{type: text, default: nobody}}
  select: {{type: float, minimum: 0}}
  limit: {{type: integer}}
  offset: {{type: boolean}}
  end: {{type: json}}
{"".join(f"  {name}: {{type: text}}" + chr(10) for name in INSIDE)}
"""
HOURLY = """
key: [group, hour]
time: hour
on_return: recompute
made_from: [order]
partition_by: month
columns:
  group: {type: text}
  hour: {type: timestamp}
  all: {type: integer}
  limit: {type: integer}
  bucket: {type: float}
"""
SQL = """
SELECT "group", date_trunc('hour', "time", 'UTC') AS hour, count(*) AS "all", max("limit") AS "limit",
    sum("select") AS bucket
FROM "order" WHERE "time" >= $1 AND "time" < $2 GROUP BY 1, 2
"""
PIPELINE = """
doc: Orders, as SQL would not name them.
owner: sales
source: {type: mqtt, topic: order/#}
transform: readings
tables: [{name: order, about: {kind: device, column: group}}]
"""
HOUR = datetime(2026, 11, 21, 8, tzinfo=UTC)
NOON = Selection(device="north")


@dataclass(frozen=True, slots=True)
class Shop:
    """Files of a project with one pipeline, and the services it runs on."""

    root: Path
    settings: Settings
    connection: Connection
    listeners: Listeners

    @property
    def catalog(self) -> Catalog:
        return catalogs.read(self.root)

    def order(self, group: str, minute: int, **said: Any) -> tuple[str, bytes]:
        inside = {name: f"{name} of {group}" for name in INSIDE}
        time = f"2026-11-21T08:{minute:02}:00Z"
        return "order/1", json.dumps(
            {"group": group, "time": time, "limit": minute, **inside, **said}
        ).encode()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.connection.fetch(query)]

    def change(self, old: str, new: str) -> None:
        file = self.root / "shop" / "tables" / "order.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    async def recall(self, *kinds: Any) -> recall.Outcome:
        order = recall.Order(kinds=kinds, reason="a bad probe", by_whom="ada", apply=bool(kinds))
        return await recall.recalled(self.settings, self.catalog, NOON, order)


@pytest.fixture
def shop(
    listeners: Listeners,
    connection: Connection,
    graph_address: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    root = tmp_path / "pipelines"
    catalogs.written(root / "shop" / "order.yaml", PIPELINE)
    catalogs.written(root / "shop" / "tables" / "order.yaml", CONTRACT)
    catalogs.written(root / "shop" / "derived" / "select.yaml", HOURLY)
    catalogs.written(root / "shop" / "derived" / "select.sql", SQL)
    for name, value in graph_settings(graph_address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_ANCHOR_FILE", str(tmp_path / "anchors"))
    settings = load(home=tmp_path, postgres_dsn=listeners.dsn, mqtt_url=listeners.broker)
    return Shop(root, settings, connection, listeners)


async def test_every_statement_takes_the_names_as_they_are(shop: Shop) -> None:
    good = [shop.order("north", minute, select=minute) for minute in range(3)]
    bad = [shop.order("south", 1, select=-1.0), shop.order("south", 2, select="much")]
    async with (
        shop.listeners.run(shop.catalog.pipeline("order")),
        Publisher(shop.listeners.broker) as publisher,
    ):
        await publisher.publish_many([*good, *bad])
        await until_stored(shop.connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 5)
        again = [good[0], shop.order("north", 1, select=99), shop.order("north", 5, select=5, user="ada")]
        await publisher.publish_many(again)  # a duplicate, a conflict and a new one
        await until_stored(shop.connection, "SELECT sum(read)::bigint FROM ledger", 8)
    stored = await shop.rows('SELECT "user", "select", "limit", "own", "rules" FROM "order" ORDER BY "time"')
    assert stored == [
        ("nobody", 0.0, 0, "own of north", "rules of north"),
        ("nobody", 1.0, 1, "own of north", "rules of north"),
        ("nobody", 2.0, 2, "own of north", "rules of north"),
        ("ada", 5.0, 5, "own of north", "rules of north"),
    ]
    broken = await shop.rows("SELECT rules, key FROM rejected ORDER BY rules[1], key")
    assert [rules for rules, _ in broken] == [["key.conflict"], ["select.range"], ["select.type"]]
    assert broken[0][1] == '{"group":"north","time":"2026-11-21T08:01:00.000000Z"}'
    sums = await shop.rows("SELECT sum(read), sum(accepted), sum(rejected), sum(duplicates) FROM ledger")
    assert [tuple(map(int, row)) for row in sums] == [(8, 4, 3, 1)]

    await aggregates.refresh_all(shop.settings, shop.catalog, a_run())
    assert await shop.rows('SELECT "group", "all", "limit", bucket FROM "select"') == [("north", 4, 5, 8.0)]

    await traces_and_recalls(shop)
    await judges_again(shop)

    async with open_pool(shop.listeners.dsn, application="test") as pool:
        assert await missing_ahead(pool, shop.catalog.contracts.values(), datetime.now(UTC)) == []
    proved = await proof.prove(shop.settings, shop.catalog, full=True)
    assert proved.ok, proved.differences
    await shop.connection.execute('UPDATE store."order" SET "limit" = 7 WHERE "select" = 2')
    assert not (await proof.prove(shop.settings, shop.catalog, full=True)).ok


async def traces_and_recalls(shop: Shop) -> None:
    """From a row and from its hour to the bytes; out of the view, and back in."""
    found = await trace.traced(
        shop.settings, shop.catalog, "order", "group=north,time=2026-11-21T08:02:00Z", "user", 1
    )
    assert found.trace.message is not None
    assert (found.value, found.trace.message.payload) == ("nobody", shop.order("north", 2, select=2)[1])
    hour = await trace.traced(shop.settings, shop.catalog, "select", "north,2026-11-21T08:00:00Z", None, 1)
    assert [(part.table, part.total) for part in hour.trace.made_from] == [("order", 4)]

    outcome = await shop.recall()
    assert [(each.table, each.rows) for each in outcome.scope.tables] == [("order", 4)]
    assert outcome.scope.aggregates == {"select": 1}
    assert (await shop.recall("quarantine")).rows == {"order": 4}
    assert await shop.rows('SELECT FROM "order"') == await shop.rows('SELECT FROM "select"') == []
    found = await trace.traced(shop.settings, shop.catalog, "order", "north,2026-11-21T08:02:00Z", None, 1)
    assert found.trace.quarantine is not None
    assert (await proof.prove(shop.settings, shop.catalog, full=True)).ok
    assert (await shop.recall("release")).rows == {"order": 4}
    assert len(await shop.rows('SELECT FROM "order"')) == 4


async def judges_again(shop: Shop) -> None:
    """Under another contract: what was rejected, and what stands."""
    shop.change("minimum: 0", "minimum: -5")
    shop.change("default: nobody", "default: somebody")
    shop.change("version: 1", "version: 2")
    replayed = await replay.replay(
        shop.settings, shop.catalog, Which(), dry_run=False, tell=lambda _done, _of: None
    )
    assert (replayed["accepted"], replayed["rejected"]) == (1, 2)
    outcome = await shop.recall("reprocess")
    assert (outcome.changes["order"].changed, outcome.changes["order"].columns) == (3, {"user": 3})
    users = 'SELECT "user" FROM "order" WHERE "group" = \'north\' ORDER BY "time"'
    assert await shop.rows(users) == [("somebody",), ("somebody",), ("somebody",), ("ada",)]
    history = 'SELECT DISTINCT "user", "row" FROM store.order_history'
    assert await shop.rows(history) == [("nobody", "row of north")]
    found = await trace.traced(shop.settings, shop.catalog, "order", "north,2026-11-21T08:02:00Z", None, 1)
    assert [each.row["user"] for each in found.trace.earlier] == ["nobody"]


async def test_a_newer_observation_replaces_the_older(shop: Shop) -> None:
    shop.change("time: time\n", "time: time\non_return: revise\n")
    async with (
        shop.listeners.run(shop.catalog.pipeline("order")),
        Publisher(shop.listeners.broker) as publisher,
    ):
        for number, user in enumerate(("ada", "bob", "bob"), start=1):
            await publisher.publish_many([shop.order("north", 1, user=user)])
            await until_stored(shop.connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", number)
    assert await shop.rows('SELECT "user", "stands" FROM "order"') == [("bob", "stands of north")]
    assert await shop.rows('SELECT "user", replaced_by FROM store.order_history') == [("ada", 2)]
    assert (await proof.prove(shop.settings, shop.catalog, full=True)).ok


def a_run() -> Run:
    return Run(id=uuid4(), kind="flow", name="test", started_at=HOUR)
