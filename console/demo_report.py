"""What the demo prints: what was stored, what was rejected and why, one value traced back, the proof."""

from collections import Counter
from collections.abc import Iterable

import typer

from flows.audits import ask
from flows.catalog import CONTRACTS
from flows.history import flow_runs
from infra.postgres import Pool, translated
from infra.settings import Settings
from lineage import naming
from lineage.proof import Proof
from tasks.contract import load_contract
from tasks.load.origin import Origin, origin_of

_READ = "SELECT coalesce(sum(read), 0) FROM store.ledger WHERE dataset LIKE 'mqtt:%'"
_ENDED = "SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed', 'stopped')"
_MARKS = "SELECT count(*) FROM store.change_marks"
_BEHIND = """
SELECT coalesce(sum(last.number - coalesce(c.number, 0)), 0) FROM
(SELECT writer, max(number) AS number FROM store.lineage_log GROUP BY writer) last
LEFT JOIN store.relay_cursors c USING (writer)
"""
TABLES = (
    "sensor_readings",
    "sensor_readings_hourly",
    "experiments",
    "experiment_steps",
    "experiment_summary",
)
# Which rules were broken, how often, and one message of a record that broke each.
_REJECTED = """
SELECT rule, count(*) AS records, min(message) AS example FROM rejected, unnest(rules) AS rule
GROUP BY rule ORDER BY records DESC, rule
"""
# A reading that every step had something to say about.
_CHOSEN = """
SELECT device_id, "timestamp"::text AS "timestamp" FROM sensor_readings
WHERE dew_point IS NOT NULL AND place IS NOT NULL AND device_name IS NOT NULL
ORDER BY "timestamp" DESC LIMIT 1
"""


async def missing(pool: Pool, published: int, runs: int) -> str:
    """What has not arrived yet, as the end of a sentence; empty when everything has."""
    with translated():
        read, ended = await pool.fetchval(_READ), await pool.fetchval(_ENDED)
        marks, behind = await pool.fetchval(_MARKS), await pool.fetchval(_BEHIND)
    if read < published:
        return f"only {read:,} of {published:,} readings are committed"
    if ended < runs:
        return f"only {ended} of {runs} runs are stored with their end"
    if marks:
        return f"{marks} changed hours are not summed up"
    return f"{behind:,} lineage entries are not in the graph" if behind else ""


async def show(settings: Settings, pool: Pool, kinds: Counter[str]) -> None:
    """Everything but the proof."""
    bad = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common() if kind != "good")
    _title("Published")
    typer.echo(f"  {kinds.total():,} readings: {kinds['good']:,} good, {bad}")
    await _show_stored(pool)
    await _show_rejected(pool)
    await _show_flows()
    await _show_origin(settings, pool)


async def _show_stored(pool: Pool) -> None:
    _title("Stored")
    with translated():
        for table in TABLES:
            typer.echo(f"  {table:<24} {await pool.fetchval(f'SELECT count(*) FROM {table}'):>6,} rows")
        books = await pool.fetchrow(
            "SELECT sum(read) AS read, sum(accepted) AS accepted, sum(rejected) AS rejected, "
            "sum(duplicates) AS duplicates, sum(filtered) AS filtered FROM ledger WHERE way <> 'refresh'"
        )
    if books is not None:
        typer.echo(
            f"  the books: {books['read']:,} read = {books['accepted']:,} accepted + {books['rejected']:,} "
            f"rejected + {books['duplicates']:,} duplicates + {books['filtered']:,} filtered"
        )


async def _show_rejected(pool: Pool) -> None:
    _title("Rejected, and why")
    with translated():
        for row in await pool.fetch(_REJECTED):
            typer.echo(f"  {row['records']:>4} {row['rule']:<22} {row['example']}")


async def _show_flows() -> None:
    _title("Flow runs")
    counted = Counter((run.flow, run.started_by, run.state) for run in await flow_runs())
    for (flow, started_by, state), runs in sorted(counted.items()):
        typer.echo(f"  {runs:>4} {flow:<20} by {started_by:<9} {state}")


async def _show_origin(settings: Settings, pool: Pool) -> None:
    with translated():
        key = await pool.fetchrow(_CHOSEN)
    if key is None:
        return
    origin = await origin_of(pool, load_contract(CONTRACTS / "sensor_readings.yaml"), dict(key))
    _title("One value, traced back to its exact message")
    for line in _lines(origin):
        typer.echo(f"  {line}")
    batch = f"{naming.postgres('sensor_readings')}#{origin.commit.batch}"
    before = await ask(settings, "upstream", {"key": batch}, limit=20)
    after = await ask(settings, "downstream", {"key": batch}, limit=20)
    chain = [*(str(row[0]) for row in reversed(before.rows)), batch, *(str(row[0]) for row in after.rows)]
    typer.echo("  in the graph: " + " → ".join(chain))


def _lines(origin: Origin) -> Iterable[str]:
    row, commit, message = origin.row, origin.commit, origin.message
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
        typer.echo(f"  {difference}")
    typer.echo(
        f"  {proof.batches:,} batches, {proof.rows:,} rows, {proof.rejected:,} rejected records, "
        f"{proof.edges:,} edges: {proof.total or 'no'} difference{'' if proof.total == 1 else 's'}"
    )


def _title(text: str) -> None:
    typer.secho(f"\n{text}", bold=True)
