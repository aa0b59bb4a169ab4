"""Metrics of processes that have ended, read from a real server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.metrics_server import Health, serve
from lineage.errors import SettingsError

REPOSITORY = Path(__file__).parents[2]

# What a flow's process does: settings, then the shared directory, and only then everything else.
FLOW = """
import sys
from infra.settings import load, share_metrics
share_metrics(load())
from datetime import UTC, datetime, timedelta
from prometheus_client import CollectorRegistry
from infra.metrics import Committed, Metrics
accepted, rejected, lag = map(int, sys.argv[1:4])
metrics = Metrics(CollectorRegistry())
now = datetime.now(UTC)
metrics.committed("experiments", Committed(
    messages=accepted + rejected, size_bytes=1000,
    accepted=accepted, rejected=rejected, duplicates=0, filtered=0,
    commit=timedelta(milliseconds=20), received_at=now - timedelta(seconds=200), committed_at=now))
metrics.flow_run("experiments", "completed", timedelta(seconds=2))
metrics.relay_lag(lag, timedelta(seconds=lag), now)
metrics.listener_up.labels("experiments").set(1)
print("counted", flush=True)
if "wait" in sys.argv:
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "a home" / ".headwater"
    (home / "metrics").mkdir(parents=True)
    return home


def environment(home: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**ours, "HEADWATER_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}


def run_flow(home: Path, *arguments: object) -> None:
    command = [sys.executable, "-c", FLOW, *map(str, arguments)]
    subprocess.run(command, env=environment(home), check=True, timeout=60, capture_output=True)


@pytest.fixture
def waiting(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", FLOW, "5", "0", "9", "wait"]
    process = subprocess.Popen(
        command, env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        yield process
        process.kill()


def scrape(address: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = httpx.get(f"{address}/metrics", timeout=10).raise_for_status().text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


ACCEPTED = key("processed_records_total", source="experiments", status="accepted")
REJECTED = key("processed_records_total", source="experiments", status="rejected")
RUNS = key("flow_runs_total", flow="experiments", status="completed")
TOTAL = {"source": "experiments", "stage": "total", "status": "ok"}


def test_two_ended_processes_are_both_counted(home: Path) -> None:
    with serve(home / "metrics") as address:
        run_flow(home, 10, 1, 7)
        run_flow(home, 32, 2, 3)
        found = scrape(address)
        again = scrape(address)
    assert (found[ACCEPTED], found[REJECTED], found[RUNS]) == (42, 3, 2)
    assert found[key("data_processing_latency_seconds_count", **TOTAL)] == 2
    assert found[key("data_processing_latency_seconds_bucket", **TOTAL, le="300.0")] == 2
    assert found[key("data_processing_latency_seconds_bucket", **TOTAL, le="120.0")] == 0
    assert found[key("relay_lag_entries")] == 3, "the last one to look knows"
    assert key("listener_up", source="experiments") not in found, "a process that ended is not up"
    assert again == found


def test_ended_processes_leave_one_file_per_kind(home: Path) -> None:
    with serve(home / "metrics") as address:
        for _ in range(3):
            run_flow(home, 1, 0, 0)
            scrape(address)
        assert scrape(address)[ACCEPTED] == 3
    assert sorted(path.name for path in (home / "metrics").glob("*.db")) == [
        "counter_ended.db",
        "gauge_max_ended.db",
        "gauge_mostrecent_ended.db",
        "histogram_ended.db",
    ]


def test_a_running_process_is_counted_and_its_end_noticed(
    home: Path, waiting: subprocess.Popen[bytes]
) -> None:
    up = key("listener_up", source="experiments")
    with serve(home / "metrics") as address:
        run_flow(home, 1, 0, 0)
        running = scrape(address)
        assert (running[ACCEPTED], running[up]) == (6, 1)
        waiting.send_signal(signal.SIGKILL)
        waiting.wait(10)
        ended = scrape(address)
        assert ended[ACCEPTED] == 6
        assert up not in ended


def test_a_file_left_empty_by_a_killed_process_does_not_stop_the_scrape(home: Path) -> None:
    run_flow(home, 4, 0, 0)
    (home / "metrics" / "counter_4194305.db").touch()  # beyond the largest process id
    with serve(home / "metrics") as address:
        assert scrape(address)[ACCEPTED] == 4


def test_health_is_asked_and_answered(home: Path) -> None:
    states = iter([Health(), Health(ok=False, detail={"postgres": "away"})])
    with serve(home / "metrics", health=lambda: next(states)) as address:
        assert address.startswith("http://127.0.0.1:")
        well, ill = httpx.get(f"{address}/health"), httpx.get(f"{address}/health")
        assert httpx.get(f"{address}/nothing").status_code == 404
    assert (well.status_code, well.json()) == (200, {"ok": True})
    assert (ill.status_code, ill.json()) == (503, {"ok": False, "postgres": "away"})


def test_a_port_that_is_taken_is_a_sentence(home: Path) -> None:
    with serve(home / "metrics") as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(SettingsError, match="HEADWATER_METRICS_PORT"), serve(home / "metrics", port=port):
            pass


def test_sharing_too_late_is_refused(home: Path) -> None:
    late = "import prometheus_client\n" + FLOW
    done = subprocess.run(
        [sys.executable, "-c", late, "1", "0", "0"],
        env=environment(home),
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "call share_metrics() first in the entry point" in done.stderr
