"""Proves everything stored, by schedule, so that a difference alerts; `headwater prove` does it now."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State

from flows import stores
from flows.catalog import Retry
from flows.runs import Schedule, measured, metrics, missed
from flows.steps import step
from infra import anchors
from infra.settings import Settings, load
from lineage import graph as graphs
from lineage import seal
from lineage.errors import HeadwaterError, VerificationError
from lineage.ports import Connection
from lineage.proof import Progress, Proof, last_vouched, sealed_before
from lineage.proof import prove as prove_stored
from tasks.verify import stored_shapes

NAME = "proof"


class ProofSchedule(Schedule):
    """How often, and how much of it."""

    full: bool = False  # everything, not what is new since the last proof without a difference


HOURLY = ProofSchedule()


class DifferencesError(VerificationError):
    """A proof found differences; its sentence counts all of them, the list is `headwater prove`'s."""

    def __init__(self, proof: Proof) -> None:
        HeadwaterError.__init__(self, f"{proof.sentence}. `headwater prove` lists them.")
        self.differences = proof.differences


def _tell_no_one(_what: str, _done: int) -> None:
    """Nobody watches a scheduled run."""


@flow(name=NAME, persist_result=False)
async def scheduled_proof(schedule: ProofSchedule = HOURLY) -> str | State[None]:
    """Prove what is new, or everything; fails with the list where Postgres, the log and the graph differ."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        proof = await step("prove", prove, Retry())(load(), full=schedule.full)
        lines = [f"- {difference}" for difference in proof.differences]
        await acreate_markdown_artifact(
            "\n".join([proof.sentence, "", *lines]), key="proof", description=proof.sentence
        )
        if not proof.ok:
            raise DifferencesError(proof)
        return proof.sentence


async def prove(
    settings: Settings,
    progress: Progress = _tell_no_one,
    *,
    full: bool = False,
    since: datetime | None = None,
) -> Proof:
    """Check Postgres against the lineage log against the graph; the outcome is counted, a clean one anchored.

    What is new since the last clean proof that the anchors vouch for, everything if they vouch for none; or
    what was sealed from `since` on; or everything (`full`), and then there is no `since`.
    """
    async with (
        stores.open_connection(settings, "prove", statement_timeout=timedelta(0)) as connection,
        stores.open_graph(settings) as graph,
    ):
        await graphs.migrate(graph)
        store = await seal.identity(connection)
        kept = anchors.read(settings.anchors, store)
        proof = await prove_stored(
            connection,
            graph,
            await stored_shapes(connection),
            progress,
            after=await _after(connection, kept, full, since),
            anchors=kept,
        )
    if proof.ok and proof.seal:
        newest = seal.Anchor(
            seal=proof.seal,
            hash=bytes.fromhex(proof.seal_hash),
            proved=since is None,  # else what is before `since` was not read
        )
        anchors.append(settings.anchors, store, newest)
    metrics().proved(proof.total, datetime.now(UTC))
    return proof


async def _after(
    connection: Connection, kept: Sequence[seal.Anchor], full: bool, since: datetime | None
) -> int:
    """The last seal that is taken as proved, 0 when everything is read."""
    if full:
        return 0
    return await (last_vouched(connection, kept) if since is None else sealed_before(connection, since))
