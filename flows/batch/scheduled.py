"""The flows that run by schedule. What each of them does is a plain function that a command calls too.

A run that starts an interval late cancels itself; what is tried again is a step.
"""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State

from flows import catalog
from flows.acts import aggregates, folds, partitions, proof
from flows.batch.runs import Schedule, current_run, missed
from flows.batch.steps import step
from flows.catalog import Catalog, Retry
from flows.process.counting import measured
from flows.process.ours import FLOW
from infra.printable import markdown
from infra.settings import load
from lineage.errors import ContractError


class ProofSchedule(Schedule):
    """How often, and how much of it."""

    full: bool = False  # everything, not what is new since the last proof without a difference


HOURLY = Schedule()
DAILY = Schedule.daily()
PROOF = ProofSchedule()


def _refuse_broken(known: Catalog) -> None:
    """Raise ContractError, when all else is done, for tables that are left out of the catalog."""
    if known.broken_tables:
        raise ContractError(f"Done, but for tables that are broken: {' '.join(known.broken_tables)}")


@flow(name=FLOW + aggregates.NAME, persist_result=False)
async def refresh_aggregates(schedule: Schedule = HOURLY) -> str | State[None]:
    """Refresh every aggregate; returns what became of them in one sentence."""
    if late := missed(schedule):
        return late
    with measured(aggregates.NAME):
        refresh = step("refresh", aggregates.refresh_all, Retry())
        settings = load()
        known = catalog.read(settings)
        done = await refresh(settings, known, current_run(aggregates.NAME))
        sentence = aggregates.recomputed(sum(one.buckets for one in done))
        table = aggregates.table_of(done)
        await acreate_markdown_artifact(table, key=FLOW + aggregates.NAME, description=sentence)
        _refuse_broken(known)
        return sentence


@flow(name=FLOW + partitions.NAME, persist_result=False)
async def extend_partitions(schedule: Schedule = DAILY) -> str | State[None]:
    """Prepare every contract's table and its partitions ahead; returns what was done in one sentence."""
    if late := missed(schedule):
        return late
    with measured(partitions.NAME):
        settings = load()
        known = catalog.read(settings)
        tables = await partitions.extend(settings, known, datetime.now(UTC))
        if lacking := [table for table in known.contracts if table not in tables]:
            raise ContractError(f"Not ready for the days to come: {', '.join(lacking)}; the log says why.")
        _refuse_broken(known)
        return f"Ready for the days to come: {', '.join(tables)}."


@flow(name=FLOW + folds.NAME, persist_result=False)
async def fold_days(schedule: Schedule = DAILY) -> str | State[None]:
    """Fold every day that is old enough; returns what was done in one sentence."""
    if late := missed(schedule):
        return late
    with measured(folds.NAME):
        fold = step("fold", folds.fold, Retry())
        days = await fold(load(), current_run(folds.NAME), datetime.now(UTC))
        return f"Folded {', '.join(days)}." if days else "No day is old enough to be folded."


@flow(name=FLOW + proof.NAME, persist_result=False)
async def scheduled_proof(schedule: ProofSchedule = PROOF) -> str | State[None]:
    """Prove what is new, or everything; fails with the list where Postgres, the log and the graph differ."""
    if late := missed(schedule):
        return late
    with measured(proof.NAME):
        settings = load()
        prove = step("prove", proof.prove, Retry())
        found = await prove(settings, catalog.read(settings), full=schedule.full)
        lines = [f"- {markdown(difference)}" for difference in found.differences]
        await acreate_markdown_artifact(
            "\n".join([markdown(found.sentence), "", *lines]),
            key=FLOW + proof.NAME,
            description=found.sentence,
        )
        if not found.ok:
            raise proof.DifferencesError(found)
        return found.sentence
