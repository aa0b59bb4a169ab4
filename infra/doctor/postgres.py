"""Postgres: does it answer, is it new enough, would it keep what it says it has committed?"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from infra.doctor.finding import Finding, Level, away, readable
from infra.migrate import missing
from infra.postgres import Connection, Row, connect, translated
from lineage import query_files, sequences
from lineage.errors import HeadwaterError

PART: Final = "Postgres"
OLDEST: Final = 140_000
FEW_CONNECTIONS: Final = 20
SKEW: Final = 5.0  # seconds

_FACTS = query_files.read(__package__, "server_facts.sql")
_CORRECTED = """
SELECT sequence, was, became, at FROM store.sequence_corrections
WHERE at > clock_timestamp() - interval '7 days' ORDER BY at
"""


async def check(dsn: str) -> tuple[Finding, ...]:
    """Findings about the database; raises nothing for what the database does wrong."""
    try:
        connection = await connect(dsn, application="doctor")
    except HeadwaterError as error:
        fix = "Start it, or correct HEADWATER_POSTGRES_DSN."
        return (away(PART, error, fix),)
    try:
        with translated():
            facts = await connection.fetchrow(_FACTS)
            assert facts is not None  # noqa: S101 - one row, always
            host = urlsplit(dsn).hostname
            found = [*_judged(facts, host), *_migrations(lacking := await missing(connection))]
            return (*found, *([] if lacking else await _sequences(connection)))
    finally:
        await connection.close()


def _judged(facts: Row, host: str | None) -> Iterator[Finding]:
    tls = "TLS" if facts["tls"] else "no TLS"
    yield Finding(PART, Level.OK, f"version {facts['version']}, {tls}, {facts['free']} connections free")
    if facts["number"] < OLDEST:
        yield Finding(PART, Level.PROBLEM, "it is older than version 14", "Upgrade it.")
    yield from readable(PART, host, facts["tls"], "Add sslmode=verify-full to HEADWATER_POSTGRES_DSN.")
    if facts["fsync"] != "on" or facts["synchronous_commit"] == "off":
        fix = "Set fsync = on and synchronous_commit = on."
        yield Finding(PART, Level.PROBLEM, "what it has committed can be gone after a power cut", fix)
    if facts["free"] < FEW_CONNECTIONS:
        yield Finding(
            PART, Level.WARNING, f"only {facts['free']} connections are free", "Raise max_connections."
        )
    if abs((facts["now"] - datetime.now(UTC)).total_seconds()) > SKEW:
        fix = "Synchronise the clocks (NTP)."
        yield Finding(PART, Level.WARNING, "its clock and ours differ by more than 5 s", fix)


async def _sequences(connection: Connection) -> list[Finding]:
    """Numbers that would be given a second time; and those that would have been, this week."""
    fix = "The next commit sets it right. Ask what was restored or failed over, and run `headwater prove`."
    found = [Finding(PART, Level.PROBLEM, str(each), fix) for each in await sequences.behind(connection)]
    for row in await connection.fetch(_CORRECTED):
        sentence = (
            f"{row['sequence']} was behind what is stored ({row['was']} of {row['became']}), "
            f"and was set right at {row['at']:%Y-%m-%d %H:%M} UTC"
        )
        fix = "Ask what was restored or failed over; `headwater prove` says whether anything is gone."
        found.append(Finding(PART, Level.WARNING, sentence, fix))
    return found


def _migrations(names: list[str]) -> Iterator[Finding]:
    if names:
        sentence = f"{len(names)} migrations are not applied: {', '.join(names)}"
        yield Finding(PART, Level.PROBLEM, sentence, "Run `headwater run partitions`, or start a listener.")
