"""Keeps the directory of shared metrics small and true when processes end.

Every process leaves one file per kind of metric. What an ended one counted must stay in the sums, but a flow
run a minute would leave thousands of files: `fold` adds them to one file per kind, and drops the gauges
that end with their process. Readers hold a shared lock, folding an exclusive one, across processes.
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

ENDED = "ended"  # stands in a file's name where the process id would

Values = dict[str, tuple[float, float]]  # metric, sample and labels as JSON → value, time it was set


class SharedMetrics:
    """A collector of everything counted in a directory, by processes that run and that have ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collector = MultiProcessCollector(None, path=str(directory))

    def collect(self) -> Iterable[Metric]:
        fold(self._directory)
        with _locked(self._directory, fcntl.LOCK_SH):
            return list(self._collector.collect())

    def registry(self) -> CollectorRegistry:
        """A registry with this collector alone, ready to be served."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def describe(self) -> Iterable[Metric]:
        """Nothing: asking would read every file when it is registered."""
        return ()


def fold(directory: Path) -> None:
    """Move what ended processes counted into one file per kind; forget their live gauges."""
    if not any(True for _ in _left_behind(directory)):
        return
    with _locked(directory, fcntl.LOCK_EX):
        kinds: dict[str, list[Path]] = {}
        for path in _left_behind(directory):
            kinds.setdefault(path.stem.rpartition("_")[0], []).append(path)
        for kind, paths in kinds.items():
            if kind != "gauge_all" and not kind.startswith("gauge_live"):
                _add(directory / f"{kind}_{ENDED}.db", kind, paths)
            for path in paths:
                path.unlink()


def _left_behind(directory: Path) -> Iterator[Path]:
    """Files of processes that have ended."""
    for path in sorted(directory.glob("*_*.db")):
        process = path.stem.rpartition("_")[2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            yield path


def _add(target: Path, kind: str, paths: Iterable[Path]) -> None:
    values: Values = {}
    for path in (target, *paths):
        _merge(values, kind, path)
    # The whole new file takes the old one's place at once; only a crash before the others are
    # removed would count these twice.
    new = target.with_suffix(".new")
    new.unlink(missing_ok=True)
    written = MmapedDict(str(new))
    for key, (value, moment) in values.items():
        written.write_value(key, value, moment)
    written.close()
    new.replace(target)


def _merge(values: Values, kind: str, path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:  # empty: killed while it was created
        return
    for key, value, moment, _ in MmapedDict.read_all_values_from_file(str(path)):
        if key not in values:
            values[key] = (value, moment)
            continue
        before, then = values[key]
        if kind == "gauge_max":
            values[key] = (max(before, value), 0.0)
        elif kind == "gauge_min":
            values[key] = (min(before, value), 0.0)
        elif kind == "gauge_mostrecent":
            values[key] = (value, moment) if moment > then else (before, then)
        else:
            values[key] = (before + value, 0.0)


@contextmanager
def _locked(directory: Path, mode: int) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, mode)  # closing the file lets go of it
        yield
