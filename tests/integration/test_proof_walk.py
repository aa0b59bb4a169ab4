"""Every column of every table is tampered with: a proof finds it, or it is said to be blind there.

As who has every right in Postgres would: as a superuser, with the triggers off. What is new since the last
proof is tampered with before a proof of what is new, and what is old before a full one.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from infra.local.addresses import Address
from infra.postgres import Row
from lineage import relay
from lineage.proof import prove
from lineage.proof.claims import EXTRA, MISSING, NOT_OF_ALL, blind
from tasks.look.verify import stored_shapes
from tests.fixtures.everything import do_everything
from tests.fixtures.proof import House, a_house

CHANGED = {
    "smallint": "-1 - coalesce({0}, 0)",
    "bigint": "-1 - coalesce({0}, 0)",
    "integer": "-1 - coalesce({0}, 0)",
    "double precision": "coalesce({0}, 0) + 1",
    "text": "coalesce({0}, '') || 'x'",
    "bytea": "coalesce({0}, '') || '\\x07'::bytea",
    "boolean": "NOT coalesce({0}, false)",
    "uuid": "gen_random_uuid()",
    "json": "'{{\"x\": 1}}'",
    "text[]": "coalesce({0}, '{{}}') || 'x'::text",
    "timestamp with time zone": "coalesce({0}, now()) + interval '1 microsecond'",
}
TABLES = """
SELECT c.relname AS name FROM pg_class c
WHERE c.relnamespace = 'store'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""
COLUMNS = """
SELECT attname AS name, format_type(atttypid, NULL) AS type, NOT attnotnull AS nullable,
    coalesce(attnum = ANY (i.indkey), false) AS key
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE attrelid = ('store.' || $1)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
IDENTITIES = """
SELECT table_name AS of, column_name AS name FROM information_schema.columns
WHERE table_schema = 'store' AND identity_generation = 'ALWAYS'
"""
CHECKS = """
SELECT conname AS name, conrelid::regclass::text AS of FROM pg_constraint
WHERE contype IN ('c', 'f', 'u') AND connamespace = 'store'::regnamespace AND conparentid = 0
"""
PARTS = 2  # for two workers; each makes its house anew, which is a fifth of what it does


@dataclass(frozen=True, slots=True)
class Walk:
    """A house, and from which seal on it is proved; what was stored before is kept beside it."""

    house: House
    after: int

    async def differences(self) -> tuple[str, ...]:
        house = self.house
        tables = await stored_shapes(house.connection)
        return (await prove(house.connection, house.graph, tables, after=self.after)).differences

    async def finds(self, statement: str) -> bool | None:
        """Whether a proof sees what was done; None when there was nothing to do it to."""
        done = await self.house.connection.execute(statement)
        return None if done.endswith(" 0") else bool(await self.differences())

    async def restore(self, table: str) -> None:
        """As it was; what a proof sealed of it and carried to the graph is taken back too."""
        for each in dict.fromkeys((table, "lineage_seals", "lineage_spans", "relay_cursors")):
            await self.house.connection.execute(
                f"TRUNCATE store.{each} CASCADE; "
                f"INSERT INTO store.{each} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{each}"
            )
        if table.startswith(("lineage_", "relay_")):
            await relay.rebuild(self.house.connection, self.house.graph)

    def row(self, table: str, columns: list[Row]) -> str:
        """The oldest row, or of what is new the first; of two tables the newest, of which more is proved."""
        end = "ORDER BY ctid DESC" if table in NOT_OF_ALL else "ORDER BY ctid"
        if not self.after:
            return f"ctid = (SELECT ctid FROM store.{table} {end} LIMIT 1)"
        old = f"SELECT s::text FROM before.{table} s"
        numbers = [
            each["name"] for each in columns if each["name"] in ("batch", "act") and each["type"] == "bigint"
        ]
        newer = "".join(f" AND {name} > (SELECT max(batch) FROM before.ledger)" for name in numbers)
        return (
            f"(tableoid, ctid) = (SELECT tableoid, ctid FROM store.{table} s "
            f"WHERE s::text NOT IN ({old}){newer} {end} LIMIT 1)"
        )


@pytest.fixture
async def walk(
    request: pytest.FixtureRequest, postgres_dsn: str, graph_address: Address
) -> AsyncIterator[Walk]:
    async with a_house(postgres_dsn, graph_address) as house:
        await do_everything(house, 1)
        first = await house.prove()
        await keep(house, "before")
        await do_everything(house, 2)
        await house.prove()
        await keep(house, "kept")
        await house.connection.execute("SET session_replication_role = replica")
        for check in await house.connection.fetch(CHECKS):
            await house.connection.execute(f"ALTER TABLE {check['of']} DROP CONSTRAINT {check['name']}")
        for each in await house.connection.fetch(IDENTITIES):
            await house.connection.execute(
                f"ALTER TABLE store.{each['of']} ALTER COLUMN {each['name']} SET GENERATED BY DEFAULT"
            )
        found = Walk(house, first.seal if request.param == "new" else 0)
        assert await found.differences() == ()
        yield found


async def keep(house: House, schema: str) -> None:
    await house.connection.execute(f"CREATE SCHEMA {schema}")
    for table in await house.connection.fetch(TABLES):
        copy = f"CREATE TABLE {schema}.{table['name']} AS SELECT * FROM store.{table['name']}"
        await house.connection.execute(copy)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("walk", ["full", "new"], indirect=True)
async def test_a_proof_sees_what_it_says_it_sees(walk: Walk, part: int) -> None:
    wrong = []
    for table in [row["name"] for row in await walk.house.connection.fetch(TABLES)][part::PARTS]:
        columns = await walk.house.connection.fetch(COLUMNS, table)
        for what, statement in tamperings(walk, table, columns):
            seen = await walk.finds(statement)
            why = blind(table, what, full=not walk.after)
            if seen is not None and seen == bool(why):
                wrong.append(f"{table}, {what}: {'seen' if seen else 'not seen'}, and said: {why}")
                print(wrong[-1], flush=True)
            await walk.restore(table)
        assert await walk.differences() == (), table
    assert wrong == []


def tamperings(walk: Walk, table: str, columns: list[Row]) -> Iterator[tuple[str, str]]:
    """What is done to a table, and how: each column of a row changed, a row deleted, a row added."""
    row = walk.row(table, columns)
    for each in columns:
        value = CHANGED[each["type"]].format(f'"{each["name"]}"')
        yield each["name"], f'UPDATE store.{table} SET "{each["name"]}" = {value} WHERE {row}'
        if each["nullable"]:
            gone = f'UPDATE store.{table} SET "{each["name"]}" = NULL'
            yield each["name"], f'{gone} WHERE {row} AND "{each["name"]}" IS NOT NULL'
    yield MISSING, f"DELETE FROM store.{table} WHERE {row}"
    names = ", ".join(f'"{each["name"]}"' for each in columns)
    added = CHANGED | {"bigint": "{0} + 1000", "integer": "{0} + 1000"}
    values = ", ".join(
        added[each["type"]].format(f'"{each["name"]}"') if each["key"] else f'"{each["name"]}"'
        for each in columns
    )
    new = f"OVERRIDING SYSTEM VALUE SELECT {values} FROM store.{table}"
    yield EXTRA, f"INSERT INTO store.{table} ({names}) {new} WHERE {row}"
