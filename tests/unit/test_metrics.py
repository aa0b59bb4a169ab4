"""What is counted, in one process."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import SECONDS, Committed, Metrics, Stage
from lineage.errors import QueryError, UnavailableError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_two_registries_do_not_meet() -> None:
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.mqtt_reconnects_total.labels("sensors").inc()
    assert value(one, "mqtt_reconnects_total", source="sensors") == 1
    assert value(other, "mqtt_reconnects_total", source="sensors") is None


def test_a_committed_batch_is_counted_in_every_way(metrics: Metrics) -> None:
    batch = Committed(
        messages=10,
        size_bytes=2000,
        accepted=6,
        rejected=2,
        duplicates=1,
        filtered=1,
        commit=timedelta(milliseconds=30),
        received_at=NOW,
        committed_at=NOW + timedelta(seconds=2),
    )
    metrics.committed("sensors", batch)
    counts = {
        status: value(metrics, "processed_records_total", source="sensors", status=status)
        for status in ("accepted", "rejected", "duplicate", "filtered")
    }
    assert counts == {"accepted": 6, "rejected": 2, "duplicate": 1, "filtered": 1}
    total = {"source": "sensors", "stage": "total", "status": "ok"}
    assert value(metrics, "data_processing_latency_seconds_sum", **total) == 2
    assert value(metrics, "batch_size_messages_sum", source="sensors") == 10
    assert value(metrics, "batch_size_bytes_sum", source="sensors") == 2000
    assert value(metrics, "commit_seconds_sum", source="sensors") == 0.03
    last = value(metrics, "listener_last_commit_timestamp_seconds", source="sensors")
    assert last == (NOW + timedelta(seconds=2)).timestamp()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnavailableError("Postgres", "it is restarting"), "unavailable"),
        (QueryError("no such table"), "rejected"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_a_failed_stage_is_counted_by_kind_and_raised(
    metrics: Metrics, error: Exception, status: str
) -> None:
    metrics.declare("sensors")
    labels = {"source": "sensors", "stage": "load", "status": status}
    assert value(metrics, "processing_errors_total", **labels) == 0
    with pytest.raises(type(error)), metrics.timed("sensors", Stage.LOAD):
        raise error
    assert value(metrics, "processing_errors_total", **labels) == 1
    assert value(metrics, "data_processing_latency_seconds_count", **labels) == 1


def test_a_stage_that_goes_well_is_no_error(metrics: Metrics) -> None:
    with metrics.timed("sensors", Stage.TRANSFORM):
        pass
    labels = {"source": "sensors", "stage": "transform"}
    assert value(metrics, "data_processing_latency_seconds_count", **labels, status="ok") == 1
    assert value(metrics, "processing_errors_total", **labels, status="failed") is None


def test_declared_counters_show_at_zero(metrics: Metrics) -> None:
    metrics.declare("sensors")
    assert value(metrics, "mqtt_sessions_lost_total", source="sensors") == 0
    assert value(metrics, "processed_records_total", source="sensors", status="rejected") == 0


def test_the_relay_and_the_proof(metrics: Metrics) -> None:
    metrics.in_graph(NOW - timedelta(seconds=3), NOW)
    metrics.in_graph(NOW + timedelta(seconds=1), NOW)
    assert value(metrics, "lineage_tracking_latency_seconds_sum", status="ok") == 3, "clocks may differ"
    metrics.relay_lag(12, timedelta(seconds=5), NOW)
    assert value(metrics, "relay_lag_entries") == 12
    assert value(metrics, "relay_lag_seconds") == 5
    metrics.proved(2, NOW)
    assert value(metrics, "prove_differences") == 2
    assert value(metrics, "prove_last_timestamp_seconds") == NOW.timestamp()


def test_buckets_reach_from_a_millisecond_past_five_minutes() -> None:
    assert SECONDS[0] == 0.001
    assert SECONDS[-2] > 300
    assert list(SECONDS) == sorted(set(SECONDS))
