"""Proves everything stored, by schedule, so that a difference alerts; `headwater prove` does it now."""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State

from flows import stores
from flows.catalog import Retry
from flows.runs import Schedule, measured, metrics, missed
from flows.steps import step
from infra.postgres import connect, translated
from infra.settings import Settings, load
from lineage import graph as graphs
from lineage.errors import HeadwaterError, VerificationError
from lineage.proof import Progress, Proof
from lineage.proof import prove as prove_stored
from tasks.verify import stored_shapes

NAME = "proof"
DAILY = Schedule.daily()


class DifferencesError(VerificationError):
    """A proof found differences; its sentence counts all of them, the list is `headwater prove`'s."""

    def __init__(self, proof: Proof) -> None:
        HeadwaterError.__init__(self, f"{proof.sentence}. `headwater prove` lists them.")
        self.differences = proof.differences


def _tell_no_one(_what: str, _done: int) -> None:
    """Nobody watches a scheduled run."""


@flow(name=NAME, persist_result=False)
async def scheduled_proof(schedule: Schedule = DAILY) -> str | State[None]:
    """Prove everything stored; fails with the list where Postgres, the log and the graph differ."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        proof = await step("prove", prove, Retry())(load())
        lines = [f"- {difference}" for difference in proof.differences]
        await acreate_markdown_artifact(
            "\n".join([proof.sentence, "", *lines]), key="proof", description=proof.sentence
        )
        if not proof.ok:
            raise DifferencesError(proof)
        return proof.sentence


async def prove(settings: Settings, progress: Progress = _tell_no_one) -> Proof:
    """Check Postgres against the lineage log against the graph; the outcome is counted too."""
    connection = await connect(stores.postgres_dsn(settings), application="prove", statement_timeout_ms=0)
    try:
        async with stores.open_graph(settings) as graph:
            await graphs.migrate(graph)
            with translated():
                proof = await prove_stored(connection, graph, await stored_shapes(connection), progress)
    finally:
        connection.terminate()
    metrics().proved(proof.total, datetime.now(UTC))
    return proof
