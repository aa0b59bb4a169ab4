"""What Headwater counts, under the names users look for.

    entry point: share_metrics(settings) ─▶ Metrics(registry) ─▶ passed to who counts
    one long-lived process: metrics_server.serve(…) ─▶ /metrics, the sum over all processes

In files shared by processes (see `infra.settings.share_metrics`) a gauge needs a rule for what several
processes' values mean together; it is the `multiprocess_mode` below. A `live…` value ends with its process;
a `mostrecent` one is absent until someone has set it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from time import perf_counter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lineage.errors import RejectedError, UnavailableError

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
"""Histogram buckets for times: 1 ms to half an hour."""

MESSAGES = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 65_535)
BYTES = tuple(1024 * 4**power for power in range(9))  # 1 KiB to 64 MiB


class Stage(StrEnum):
    """Where in the pipeline; `total` is from receipt to commit."""

    EXTRACT = "extract"
    TRANSFORM = "transform"
    PREPARE = "prepare"  # digests, packing and order, for the commit
    LOAD = "load"
    VERIFY = "verify"
    TOTAL = "total"


class Status(StrEnum):
    """How it went."""

    OK = "ok"
    UNAVAILABLE = "unavailable"  # a service was away: tried again
    REJECTED = "rejected"  # refused for good
    FAILED = "failed"  # anything else: a bug of ours


class Outcome(StrEnum):
    """What became of a record: the halves of the ledger's balance."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The numbers of one committed batch; a receipt's, and how long it took."""

    messages: int
    size_bytes: int
    accepted: int
    rejected: int
    duplicates: int
    filtered: int
    commit: timedelta  # BEGIN to COMMIT's answer
    received_at: datetime  # the oldest message
    committed_at: datetime


class Metrics:
    """Every metric, built on the registry given; nothing of it is global.

    Build it once per process: in shared files a second one would count into the same values.
    Labels take few values on purpose: `source` is a dataset or a pipeline, never a device or a topic.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._build_batches()
        self._build_lineage()
        self._build_mqtt()
        self._build_operation()

    def _build_batches(self) -> None:
        self.data_processing_latency_seconds = self._histogram(
            "data_processing_latency_seconds",
            "Time a batch spends in a stage; stage total is from receipt to commit",
            ("source", "stage", "status"),
            SECONDS,
        )
        self.processed_records_total = self._counter(
            "processed_records_total", "Records read, by what became of them", ("source", "status")
        )
        self.processing_errors_total = self._counter(
            "processing_errors_total",
            "Failed attempts at a stage; rejected records are no errors",
            ("source", "stage", "status"),
        )
        self.batch_size_messages = self._histogram(
            "batch_size_messages", "Messages per committed batch", ("source",), MESSAGES
        )
        self.batch_size_bytes = self._histogram(
            "batch_size_bytes", "Bytes per committed batch, as received", ("source",), BYTES
        )
        self.commit_seconds = self._histogram(
            "commit_seconds", "Time of one batch's transaction", ("source",), SECONDS
        )
        self.rejected_records = self._gauge(
            "rejected_records", "Rejected records that wait for a person", ("source",), "mostrecent"
        )

        self.rejected_limit_reached = self._gauge(
            "rejected_limit_reached",
            "1 while a source is not read: as many rejected records wait as its limit says",
            ("source",),
            "livemax",
        )

    def _build_lineage(self) -> None:
        self.lineage_tracking_latency_seconds = self._histogram(
            "lineage_tracking_latency_seconds",
            "Time from an edge's commit in Postgres to its being in the graph",
            ("status",),
            SECONDS,
        )
        self.relay_lag_entries = self._gauge(
            "relay_lag_entries", "Lineage entries committed and not yet in the graph", (), "mostrecent"
        )
        self.relay_lag_seconds = self._gauge(
            "relay_lag_seconds", "Age of the oldest entry not yet in the graph", (), "mostrecent"
        )
        self.relay_last_success_timestamp_seconds = self._gauge(
            "relay_last_success_timestamp_seconds",
            "When the relay last looked and all was well",
            (),
            "mostrecent",
        )
        self.prove_differences = self._gauge(
            "prove_differences", "Differences the last proof found; 0 is clean", (), "mostrecent"
        )
        self.prove_last_timestamp_seconds = self._gauge(
            "prove_last_timestamp_seconds", "When the last proof ended", (), "mostrecent"
        )

    def _build_mqtt(self) -> None:
        self.unacknowledged_messages = self._gauge(
            "unacknowledged_messages", "Messages received and not yet acknowledged", ("source",), "livesum"
        )
        self.unacknowledged_oldest_seconds = self._gauge(
            "unacknowledged_oldest_seconds", "Age of the oldest of them", ("source",), "livemax"
        )
        self.mqtt_sessions_lost_total = self._counter(
            "mqtt_sessions_lost_total", "Sessions that should have been there and were not", ("source",)
        )
        self.mqtt_reconnects_total = self._counter(
            "mqtt_reconnects_total", "Connections to the broker made again", ("source",)
        )
        self.mqtt_qos0_messages_total = self._counter(
            "mqtt_qos0_messages_total", "Messages that came at QoS 0: nothing protects these", ("source",)
        )

    def _build_operation(self) -> None:
        self.listener_up = self._gauge("listener_up", "Listeners connected now", ("source",), "livesum")
        self.listener_last_commit_timestamp_seconds = self._gauge(
            "listener_last_commit_timestamp_seconds", "When a listener last committed", ("source",), "max"
        )
        self.robot_up = self._gauge(
            "robot_up",
            "1 while a robot answers; 0: it is away, or answers something else",
            ("robot",),
            "livemax",
        )
        self.files_not_taken = self._gauge(
            "files_not_taken",
            "Files that lie in a pipeline's folder and are not taken",
            ("source",),
            "livemax",
        )
        self.flow_runs_total = self._counter("flow_runs_total", "Ended flow runs", ("flow", "status"))
        self.flow_run_duration_seconds = self._histogram(
            "flow_run_duration_seconds", "Time a flow run took", ("flow", "status"), SECONDS
        )

    def declare(self, source: str) -> None:
        """Show a source's counters at 0 before anything happens: a rate cannot see a first increment."""
        for outcome in Outcome:
            self.processed_records_total.labels(source, outcome)
        for stage in (Stage.EXTRACT, Stage.TRANSFORM, Stage.LOAD):
            for status in (Status.UNAVAILABLE, Status.REJECTED, Status.FAILED):
                self.processing_errors_total.labels(source, stage, status)
        for counter in (
            self.mqtt_sessions_lost_total,
            self.mqtt_reconnects_total,
            self.mqtt_qos0_messages_total,
        ):
            counter.labels(source)

    def committed(self, source: str, batch: Committed) -> None:
        """Count one committed batch. Call it for what was written, not for a repeat that wrote nothing."""
        counts = (
            (Outcome.ACCEPTED, batch.accepted),
            (Outcome.REJECTED, batch.rejected),
            (Outcome.DUPLICATE, batch.duplicates),
            (Outcome.FILTERED, batch.filtered),
        )
        for outcome, count in counts:
            self.processed_records_total.labels(source, outcome).inc(count)
        self.batch_size_messages.labels(source).observe(batch.messages)
        self.batch_size_bytes.labels(source).observe(batch.size_bytes)
        self.commit_seconds.labels(source).observe(batch.commit.total_seconds())
        total = max((batch.committed_at - batch.received_at).total_seconds(), 0.0)
        self.data_processing_latency_seconds.labels(source, Stage.TOTAL, Status.OK).observe(total)
        self.listener_last_commit_timestamp_seconds.labels(source).set(batch.committed_at.timestamp())

    @contextmanager
    def timed(self, source: str, stage: Stage) -> Iterator[None]:
        """Measure one attempt at a stage; an error that passes through is counted and goes on."""
        started = perf_counter()
        status = Status.FAILED
        try:
            yield
            status = Status.OK
        except UnavailableError:
            status = Status.UNAVAILABLE
            raise
        except RejectedError:
            status = Status.REJECTED
            raise
        finally:
            latency = self.data_processing_latency_seconds.labels(source, stage, status)
            latency.observe(perf_counter() - started)
            if status is not Status.OK:
                self.processing_errors_total.labels(source, stage, status).inc()

    def in_graph(self, committed_at: datetime, now: datetime) -> None:
        """The relay carried a seal whose oldest entry was committed then: how long it was on its way."""
        latency = self.lineage_tracking_latency_seconds.labels(Status.OK)
        latency.observe(max((now - committed_at).total_seconds(), 0.0))

    def relay_lag(self, entries: int, oldest: timedelta, now: datetime) -> None:
        """What the relay found when it last looked; `oldest` is zero when nothing waits."""
        self.relay_lag_entries.set(entries)
        self.relay_lag_seconds.set(oldest.total_seconds())
        self.relay_last_success_timestamp_seconds.set(now.timestamp())

    def proved(self, differences: int, now: datetime) -> None:
        """The outcome of a proof over everything stored."""
        self.prove_differences.set(differences)
        self.prove_last_timestamp_seconds.set(now.timestamp())

    def flow_run(self, flow: str, status: str, duration: timedelta) -> None:
        """One ended flow run; `status` is Prefect's state type in small letters, e.g. `completed`."""
        self.flow_runs_total.labels(flow, status).inc()
        self.flow_run_duration_seconds.labels(flow, status).observe(duration.total_seconds())

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def _gauge(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        mode: Literal["livesum", "livemax", "max", "mostrecent"],
    ) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)
