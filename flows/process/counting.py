"""Counts what was committed and which flows ran, the same for the stream, for flows and for commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from time import perf_counter

from prometheus_client import CollectorRegistry

from infra.metrics import Committed, Metrics
from tasks.batch import RawBatch, Receipt


def count(metrics: Metrics, source: str, batch: RawBatch, receipt: Receipt, took: timedelta) -> None:
    """Count one commit of a pipeline's batch; one that was committed before is not counted again."""
    if receipt.way == "repeat":
        return
    metrics.committed(
        source,
        Committed(
            messages=batch.messages.height,
            size_bytes=int(batch.messages["payload"].bin.size().sum() or 0),
            accepted=sum(receipt.accepted.values()),
            rejected=receipt.rejected,
            duplicates=receipt.duplicates,
            filtered=receipt.filtered,
            commit=took,
            received_at=batch.received_at,
            committed_at=datetime.now(UTC),
        ),
    )


@cache
def metrics() -> Metrics:
    """What this process counts; made once, when a flow first counts something."""
    return Metrics(CollectorRegistry())


@contextmanager
def measured(flow: str) -> Iterator[None]:
    """Count a flow run and how long it took."""
    started, status = perf_counter(), "failed"
    try:
        yield
        status = "completed"
    finally:
        metrics().flow_run(flow, status, timedelta(seconds=perf_counter() - started))
