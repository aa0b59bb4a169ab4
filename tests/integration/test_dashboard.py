"""What the dashboard asks of Postgres is asked of a real one, with Grafana's macros written out."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.postgres import Connection, connect
from tasks.tables.tables import prepare_table
from tests.fixtures.catalogs import SHIPPED

DASHBOARD = Path(__file__).parents[2] / "infra" / "grafana" / "dashboards" / "headwater.json"
PANELS = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
QUERIES = {panel["title"]: t["rawSql"] for panel in PANELS for t in panel["targets"] if "rawSql" in t}
RELATIONS = """
SELECT n.nspname || '.' || c.relname AS name, c.relkind::text AS kind
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE v.relname = 'asked' AND c.relname <> 'asked' AND d.refclassid = 'pg_class'::regclass
"""


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_dsn, application="tests")
    for contract in SHIPPED.contracts.values():
        await prepare_table(connection, contract)
    yield connection
    await connection.close()


def written_out(query: str) -> str:
    filled = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '6 hours' AND now()", query)
    assert "$__" not in filled, "write out this macro here too"
    return filled


@pytest.mark.parametrize("panel", QUERIES)
async def test_a_panel_asks_published_views_only(connection: Connection, panel: str) -> None:
    """A view made of the query knows what it reads: no table of ours, which may change, stands behind it."""
    await connection.execute(f"CREATE TEMP VIEW asked AS {written_out(QUERIES[panel])}")
    asked = await connection.fetch(RELATIONS)
    assert asked
    assert [row["name"] for row in asked if (row["kind"], row["name"].split(".")[0]) != ("v", "public")] == []


async def test_a_panel_that_draws_time_gives_a_time(connection: Connection) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            if target.get("format") == "time_series":
                columns = (await connection.prepare(written_out(target["rawSql"]))).get_attributes()
                types = {column.name: column.type.name for column in columns}
                assert types["time"] == "timestamptz", panel["title"]
