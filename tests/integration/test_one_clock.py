"""Hosts' clocks differ: whatever is committed bears Postgres' time, which is here a day ahead of ours."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from infra.local.addresses import Address
from lineage import restores
from lineage.model import Run, Transformation
from lineage.recorder import record
from tests.fixtures.everything import do_everything
from tests.fixtures.proof import House, a_house

WAYS = {
    *(
        "fast",
        "staging",
        "refresh",
        "replay",
        "reprocess",
        "recall",
        "quarantine",
        "release",
        "drop",
        "erase",
    ),
    *("import", "asset", "fold", "record", "event", "start", restores.WAY),
}
FIRST = """
SELECT way, min(processed_at) AS processed_at, min(created_at) AS created_at
FROM store.ledger JOIN store.lineage_log USING (batch) GROUP BY way
"""


async def test_every_way_of_committing_takes_its_time_from_postgres(
    ahead_dsn: str, graph_address: Address
) -> None:
    async with a_house(ahead_dsn, graph_address) as house:
        await do_everything(house, 1)
        await by_hand(house)
        tomorrow = datetime.now(UTC) + timedelta(hours=23)
        rows = {row["way"]: row for row in await house.connection.fetch(FIRST)}
        assert rows.keys() == WAYS
        assert {way for way, row in rows.items() if row["processed_at"] < tomorrow} == set()
        early = {way for way, row in rows.items() if row["created_at"] < tomorrow}
        assert early == {"import"}  # whose events say themselves when they happened
        assert await house.connection.fetchval("SELECT min(at) FROM store.recalls") > tomorrow


async def by_hand(house: House) -> None:
    """What somebody records, and a restore that is accepted."""
    async with record(house.connection, Transformation(name="mine", version="1")) as recording:
        recording.feeds("file:a.csv", "file:b.csv")
    run = Run(id=uuid4(), kind="command", name="restored", started_at=datetime.now(UTC))
    await restores.accept(
        house.connection, restores.Gap(kept=1, lost=2), reason="asked for", by_whom="ada", run=run
    )
