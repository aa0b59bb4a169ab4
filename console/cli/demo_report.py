"""What the demo prints: what was stored, what was rejected and why, one value traced back, the proof."""

import sys
from collections import Counter
from collections.abc import Iterable

import typer

from console.asked import demo
from console.asked.audits import ask
from console.cli.table import say
from flows.catalog import Catalog
from flows.process.ours import Installation
from flows.worker.flow_runs import flow_runs
from infra.postgres import Pool, translated
from infra.settings import Settings
from lineage import naming, relay
from lineage.proof import Proof
from tasks.look.rejected_queries import broken_rules
from tasks.look.row_key import typed_key
from tasks.look.trace import Trace, trace

TABLES = (
    "sensor_readings",
    "sensor_readings_hourly",
    "experiments",
    "experiment_steps",
    "experiment_summary",
)


async def missing(pool: Pool, catalog: Catalog, published: int, runs: int) -> str:
    """What has not arrived yet, as the end of a sentence; empty when everything has."""
    found = await demo.arrived(pool, catalog.derived)
    if found.readings < published:
        return f"only {found.readings:,} of {published:,} readings are committed"
    if found.ended_runs < runs:
        return f"only {found.ended_runs} of {runs} runs are stored with their end"
    if found.not_made:
        return f"{found.not_made} derived tables are not made"
    if found.changed_buckets:
        return f"{found.changed_buckets} changed buckets are not summed up"
    async with pool.acquire() as connection:
        with translated():
            behind = (await relay.lag(connection)).entries
    return f"{behind:,} lineage entries are not in the graph" if behind else ""


async def show(settings: Settings, catalog: Catalog, pool: Pool, kinds: Counter[str]) -> None:
    """Everything but the proof."""
    bad = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common() if kind != "good")
    _title("Published")
    say(f"  {kinds.total():,} readings: {kinds['good']:,} good, {bad}")
    await _show_stored(pool)
    await _show_rejected(pool)
    await _show_flows(await Installation.of(settings))
    await _show_origin(settings, catalog, pool)


async def _show_stored(pool: Pool) -> None:
    _title("Stored")
    for table in TABLES:
        say(f"  {table:<24} {await demo.rows_of(pool, table):>6,} rows")
    say("  what a row said before it was revised is kept beside these, and proven too")
    totals = await demo.totals(pool)
    say(
        f"  the books: {totals.read:,} read = {totals.accepted:,} accepted + {totals.rejected:,} "
        f"rejected + {totals.duplicates:,} duplicates + {totals.filtered:,} filtered "
        "(a robot's run is fetched while it goes, so some of its steps come again)"
    )


async def _show_rejected(pool: Pool) -> None:
    _title("Rejected, and why")
    for broken in await broken_rules(pool):
        say(f"  {broken.records:>4} {broken.rule:<22} {broken.example}")


async def _show_flows(ours: Installation) -> None:
    _title("Flow runs")
    counted = Counter((run.flow, run.started_by, run.state) for run in await flow_runs(ours, sys.maxsize))
    for (flow, started_by, state), runs in sorted(counted.items()):
        say(f"  {runs:>4} {flow:<20} by {started_by:<9} {state}")


async def _show_origin(settings: Settings, catalog: Catalog, pool: Pool) -> None:
    key = await demo.an_enriched_reading(pool)
    if key is None:
        return
    contract = catalog.contracts["sensor_readings"]
    traced = await trace(pool, contract, typed_key(contract, key))
    _title("One value, traced back to its exact message")
    for line in _lines(traced):
        say(f"  {line}")
    batch = f"{naming.postgres('sensor_readings')}#{traced.commit.batch}"
    before = await ask(settings, "upstream", {"key": batch}, limit=20)
    after = await ask(settings, "downstream", {"key": batch}, limit=20)
    chain = [*(str(row[0]) for row in reversed(before.rows)), batch, *(str(row[0]) for row in after.rows)]
    say("  in the graph: " + " → ".join(chain))


def _lines(traced: Trace) -> Iterable[str]:
    row, commit, message = traced.row, traced.commit, traced.message
    assert message is not None  # noqa: S101 - a reading is made from a message
    at = row["timestamp"]
    yield f"dew_point {row['dew_point']:.2f} °C of {row['device_id']} at {at:%Y-%m-%d %H:%M:%S} UTC"
    yield (
        f"batch {commit.batch}, committed {commit.processed_at:%H:%M:%S.%f} by {commit.transformation_id} "
        f"in run {commit.run_id}"
    )
    yield (
        f"message {message.sequence} of raw batch {message.raw_batch}, received "
        f"{message.received_at:%H:%M:%S.%f} on {message.location}:"
    )
    yield "  " + (message.payload or b"(erased)").decode(errors="backslashreplace")


def show_proof(proof: Proof) -> None:
    """What was compared, and every difference."""
    _title("The proof: Postgres = lineage log = graph")
    for difference in proof.differences:
        say(f"  {difference}")
    say(f"  {proof.sentence}")


def _title(text: str) -> None:
    typer.secho(f"\n{text}", bold=True)
