"""Proves everything stored, by schedule, so that a difference alerts; `headwater prove` does it now."""

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State

from flows.catalog import Retry
from flows.prove import prove
from flows.runs import Schedule, measured, missed
from flows.steps import step
from infra.settings import Settings, load
from lineage.errors import VerificationError
from lineage.proof import Proof

NAME = "prove"
DAILY = Schedule.daily()


@flow(name=NAME, persist_result=False)
async def prove_stored(schedule: Schedule = DAILY) -> str | State[None]:
    """Prove everything stored; fails with the list where Postgres, the log and the graph differ."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        proof = await step("prove", _prove, Retry())(load())
        told = (
            f"{proof.batches:,} batches, {proof.rows:,} rows, {proof.rejected:,} rejected records, "
            f"{proof.edges:,} edges: {proof.total or 'no'} differences"
        )
        lines = [f"- {difference}" for difference in proof.differences]
        await acreate_markdown_artifact("\n".join([told, "", *lines]), key="proof", description=told)
        if not proof.ok:
            raise VerificationError(proof.differences)
        return told


async def _prove(settings: Settings) -> Proof:
    return await prove(settings, lambda _what, _done: None)
