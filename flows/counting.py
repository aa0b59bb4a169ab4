"""Counts what was committed, the same for the stream and for flows."""

from datetime import UTC, datetime, timedelta

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
