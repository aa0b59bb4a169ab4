"""Recall: what came from a device, an experiment, a batch, a file or a version, and what to do of it.

First everything is only counted, `reprocess` in transactions that are rolled back. Applied, the aggregates
are computed again at the end, so that they leave out what the views leave out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from flows.acts.aggregates import refresh_all
from flows.acts.reference import reference_of
from flows.acts.replay import Readers
from flows.catalog import Catalog
from flows.process import stores
from infra.postgres import translated
from infra.settings import Settings
from lineage.model import Run
from tasks.again.changes import Changes, add
from tasks.again.quarantine import Act, Kind, record_reprocess, set_apart
from tasks.again.recall import (
    Condition,
    Recalled,
    Scope,
    Selection,
    conditions,
    readers_of,
    scope_of,
    with_filtered,
)
from tasks.again.reprocess import Reprocessed, reprocess
from tasks.again.seen import refuse_unknown
from tasks.load.store import Store
from tasks.tables.tables import has_history

NAME = "recall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do of the chosen rows, and who says so and why; without `apply` it is only told."""

    kinds: Sequence[Kind] = ()
    reason: str = ""
    by_whom: str = ""
    apply: bool = False
    stand_in: str | None = None  # the pipeline for batches whose reader is not known or is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found, and what was done of it or would be."""

    applied: bool
    scope: Scope
    rows: Mapping[str, int] = field(default_factory=dict)  # table → rows taken out or released
    changes: Mapping[str, Changes] = field(default_factory=dict)  # of a reprocess, per table
    batches: Sequence[int] = ()  # the new batches of a reprocess
    rejected: int = 0  # withdrawn rows whose records are rejected now
    filtered: int = 0  # withdrawn rows whose records are filtered now
    erased: int = 0  # messages that could not be read again
    buckets: int = 0  # of derived tables, computed again


async def recalled(
    settings: Settings,
    catalog: Catalog,
    selection: Selection,
    order: Order,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> Outcome:
    """Count what is chosen; with kinds of acts say what they would do, and with `apply` do them."""
    await stores.prepare_each(settings, catalog.contracts.values())
    run = Run(id=uuid4(), kind="command", name=NAME, started_at=datetime.now(UTC))
    async with stores.open_store(settings, NAME) as store:
        with translated():
            async with store.pool.acquire() as connection:
                found = await conditions(connection, selection, recalled_tables(catalog))
                scope = await scope_of(connection, found, tuple(catalog.derived.values()))
                scope = await with_filtered(connection, scope, selection)
                if not scope.tables:
                    await refuse_unknown(connection, selection)
                outcome = Outcome(applied=order.apply, scope=scope)
        for kind in order.kinds:
            act = Act(
                kind=kind,
                selection=json.dumps(asdict(selection), default=str),
                reason=order.reason,
                by_whom=order.by_whom,
                run=run,
            )
            if kind == "reprocess":
                outcome = await _reprocess(store, catalog, act, outcome, tell, order.stand_in)
            else:
                outcome = await _set_apart(store, act, found, outcome)
    if order.apply and order.kinds:
        done = await refresh_all(settings, catalog, run)
        outcome = replace(outcome, buckets=sum(one.buckets for one in done))
    return outcome


def recalled_tables(catalog: Catalog) -> list[Recalled]:
    """Every table that messages feed, and who its rows are about."""
    about = {
        table.name: (table.about.kind, table.about.column)
        for pipeline in catalog.pipelines.values()
        for table in pipeline.tables
        if table.about
    }
    fed = [contract for contract in catalog.contracts.values() if has_history(contract)]
    return [Recalled(contract=contract, about=about.get(contract.table)) for contract in fed]


async def _set_apart(store: Store, act: Act, found: Sequence[Condition], outcome: Outcome) -> Outcome:
    rows: dict[str, int] = {}
    for condition in found:
        number = await set_apart(store, condition, act, dry_run=not outcome.applied)
        rows |= {condition.contract.table: number} if number else {}
    return replace(outcome, rows=rows)


async def _reprocess(
    store: Store,
    catalog: Catalog,
    act: Act,
    outcome: Outcome,
    tell: Callable[[int, int], None],
    stand_in: str | None,
) -> Outcome:
    """Every raw batch of the scope, the oldest first; each is a transaction of its own."""
    with translated():
        async with store.pool.acquire() as connection:
            batches = await readers_of(connection, outcome.scope.raw_batches)
            reference = await reference_of(store.pool, catalog, {dataset for _, dataset, _ in batches})
            readers = Readers(catalog=catalog, reference=reference, run=act.run, stand_in=stand_in)
            for _, dataset, reader in batches:
                readers.of(dataset, reader)  # one that is not to be found ends it before anything is done
            if outcome.applied and batches:
                await record_reprocess(connection, act, [number for number, *_ in batches])
    for done, (number, dataset, reader) in enumerate(batches, start=1):
        one = await reprocess(store, readers.of(dataset, reader), number, dry_run=not outcome.applied)
        outcome = _with(outcome, one)
        tell(done, len(batches))
    return outcome


def _with(outcome: Outcome, one: Reprocessed) -> Outcome:
    changes = dict(outcome.changes)
    for table, each in one.changes.items():
        changes[table] = add(changes[table], each) if table in changes else each
    return replace(
        outcome,
        changes=changes,
        batches=[*outcome.batches, *([one.receipt.batch] if one.receipt else [])],
        rejected=outcome.rejected + one.rejected,
        filtered=outcome.filtered + one.filtered,
        erased=outcome.erased + one.erased,
    )
