"""Files: CSV and Parquet, everything on, against psql `\\copy` of the CSV into the same keyed table."""

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl

from infra.postgres import connect, open_pool
from tasks.tables.partitions import Partitions
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.readings import readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.fixtures.commit import CONTRACT

AGAINST = "psql \\copy of the CSV into the same table, keys and all"
INBOX = Path("home") / "files" / "sensors"
_GIVEN = {"processed_at": "now()", "batch": "0", "sequence": "0", "input_hash": "0"}
"""What the table demands and the CSV has not."""


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The rows a second of a CSV and a Parquet file, by one connection and by two."""
    rows = readings(sizes.rows)
    csv, parquet = services.directory / "readings.csv", services.directory / "readings.parquet"
    rows.write_csv(csv, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    rows.write_parquet(parquet, row_group_size=100_000)
    kinds = {
        "csv": (csv, 1, "≥ 1.5"),
        "parquet": (parquet, 1, "≥ 1.5"),
        "csv by two": (csv, 2, "≥ 2"),
        "parquet by two": (parquet, 2, "≥ 2"),
    }
    drops = [
        lambda path=path, connections=connections: _dropped(services, path, sizes.rows, connections)
        for path, connections, _ in kinds.values()
    ]
    *found, reference = await in_turns(sizes.rounds, *drops, lambda: _copied(services, csv, rows))
    for (name, (_, _, target)), ours in zip(kinds.items(), found, strict=True):
        yield figure(f"file {name}", ours, "rows/s", reference=reference, against=AGAINST, target=target)


async def dropped(services: Services, path: Path, rows: int, *options: str) -> float:
    """Rows a second of a file that is dropped into the folder of an idle listener."""
    inbox = services.directory / INBOX
    inbox.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, inbox)
    async with services.database() as dsn:
        found = await services.result("listener", "sensors-files", str(rows), *options, dsn=dsn)
        await _check(dsn, rows)
    (inbox / path.name).unlink(missing_ok=True)
    return rows / float(found["seconds"])


async def _dropped(services: Services, path: Path, rows: int, connections: int) -> float:
    return await dropped(services, path, rows, "--connections", str(connections))


async def _copied(services: Services, csv: Path, rows: pl.DataFrame) -> float:
    async with services.database() as dsn:
        await _prepare(dsn, rows["timestamp"])
        into = f"store.sensor_readings ({', '.join(rows.columns)})"
        began = time.perf_counter()
        services.psql(dsn, f"\\copy {into} FROM '{csv}' WITH (FORMAT csv, HEADER)")
        seconds = time.perf_counter() - began
        await _check(dsn, rows.height)
    return rows.height / seconds


async def _prepare(dsn: str, days: pl.Series) -> None:
    async with open_pool(dsn, application="bench") as pool:
        await Partitions(pool).ensure(CONTRACT, days)
        for name, value in _GIVEN.items():
            await pool.execute(f"ALTER TABLE store.sensor_readings ALTER {name} SET DEFAULT {value}")


async def _check(dsn: str, rows: int) -> None:
    connection = await connect(dsn, application="bench")
    stored = await connection.fetchval("SELECT count(*) FROM store.sensor_readings")
    await connection.close()
    if stored != rows:
        raise RuntimeError(f"{stored} of {rows} rows are stored")
