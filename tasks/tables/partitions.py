"""Partitions by day or month, made ahead and on demand, outside the ingest transaction.

A reference table has none.

They are made on a connection of their own and by ATTACH: `CREATE TABLE … PARTITION OF` inside two ingest
transactions deadlocks, ATTACH does not stop anyone who writes.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

import polars as pl

from infra.migrate import LOCK
from infra.postgres import Pool, translated
from lineage.identifiers import stored_table
from tasks.contract import Contract, PartitionBy


class Partitions:
    """Knows which partitions stand; makes the missing ones."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._standing: set[tuple[str, date]] = set()

    def forget(self) -> None:
        """Look again which stand: somebody may have dropped one."""
        self._standing.clear()

    async def ensure(self, contract: Contract, times: pl.Series) -> None:
        """Make the partitions that hold these times (Datetime, n)."""
        step = "1d" if contract.partition_by is PartitionBy.DAY else "1mo"
        starts = times.dt.truncate(step).dt.date().unique().sort().to_list()
        await self._ensure(contract, starts)

    async def ensure_each(
        self, contracts: Mapping[str, Contract], accepted: Mapping[str, pl.DataFrame]
    ) -> None:
        """Make the partitions that hold these rows (table → rows, n)."""
        for table, rows in accepted.items():
            if not contracts[table].is_reference:
                await self.ensure(contracts[table], rows[contracts[table].time_column])

    async def ensure_ahead(self, contract: Contract, now: datetime) -> None:
        """Make the partitions from now to the furthest time the contract takes, and one more."""
        if contract.is_reference:
            return
        start, partitions = partition_of(contract, now), []
        while start <= (now + contract.furthest).date():
            partitions.append(start)
            start = following(contract, start)
        await self._ensure(contract, [*partitions, start])

    async def _ensure(self, contract: Contract, starts: Iterable[date]) -> None:
        missing = [start for start in starts if (contract.table, start) not in self._standing]
        for start in missing:
            await self._make(contract, start)
            self._standing.add((contract.table, start))

    async def _make(self, contract: Contract, start: date) -> None:
        name = _name(contract, start)
        end = following(contract, start)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                if await connection.fetchval("SELECT to_regclass($1)", stored_table(name)) is not None:
                    return
                await connection.execute(
                    f"CREATE TABLE {stored_table(name)} (LIKE {stored_table(contract.table)} INCLUDING ALL)"
                )
                await connection.execute(
                    f"ALTER TABLE {stored_table(contract.table)} ATTACH PARTITION {stored_table(name)} "
                    f"FOR VALUES FROM ('{_midnight(start)}') TO ('{_midnight(end)}')"
                )


async def missing_ahead(pool: Pool, contracts: Iterable[Contract], now: datetime) -> list[str]:
    """The tables that have no partition for a day from now; changes nothing."""
    lacking = []
    with translated():
        for contract in contracts:
            if contract.is_reference:
                continue
            name = stored_table(_name(contract, partition_of(contract, now + timedelta(days=1))))
            if await pool.fetchval("SELECT to_regclass($1)", name) is None:
                lacking.append(contract.table)
    return lacking


def _name(contract: Contract, start: date) -> str:
    return f"{contract.table}_{start:%Y%m%d}"


def partition_of(contract: Contract, moment: datetime) -> date:
    """The first day of the partition that holds a moment."""
    day = moment.astimezone(UTC).date()
    return day if contract.partition_by is PartitionBy.DAY else day.replace(day=1)


def following(contract: Contract, start: date) -> date:
    """The first day of the next partition."""
    if contract.partition_by is PartitionBy.DAY:
        return start + timedelta(days=1)
    return (start.replace(day=1) + timedelta(days=32)).replace(day=1)


def _midnight(day: date) -> str:
    return f"{day.isoformat()} 00:00:00+00"
