"""The test rig: real services, started once per run, and fresh data per test. One file per service."""

import os
import signal
import tempfile
from pathlib import Path
from types import FrameType

import pytest
from xdist.remote import Producer

from infra.local.addresses import AddressBook
from infra.local.services import stop_all
from tests.scheduling import ByServer

# A flow called as a plain function logs without a run, of which Prefect warns, and warnings are errors.
# Prefect reads it when it is imported, as fixtures do.
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"

pytest.register_assert_rewrite("tests.fixtures")
pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.schema",
    "tests.fixtures.graph",
    "tests.fixtures.mosquitto",
    "tests.fixtures.kafka",
    "tests.fixtures.prefect",
    "tests.fixtures.promtool",
    "tests.fixtures.headwater",
    "tests.fixtures.listening",
    "tests.fixtures.wire",
]

_ROOT = pytest.StashKey[Path]()
_OWNED = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """The process that runs the tests, or hands them out, owns the directory of all servers of this run."""
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[_ROOT] = Path(worker_input["services_root"])
        return
    owned = tempfile.TemporaryDirectory(prefix="headwater tests ", ignore_cleanup_errors=True)
    config.stash[_OWNED] = owned
    config.stash[_ROOT] = Path(owned.name)
    signal.signal(signal.SIGTERM, _interrupt)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "pytest.Item") -> None:
    """With pytest-xdist: tell each worker where the shared servers are."""
    node.workerinput["services_root"] = str(node.config.stash[_ROOT])  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    """With pytest-xdist: who runs which test."""
    return ByServer(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End every server of this run; also after Ctrl-C, SIGTERM, or a worker that died."""
    owned = config.stash.get(_OWNED, None)
    if owned is None:
        return
    root = Path(owned.name)
    for book in root.rglob("services.json"):
        stop_all(book.parent)
    owned.cleanup()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def services_root(pytestconfig: pytest.Config) -> Path:
    """The data directory of the servers that all workers share; its name holds a space."""
    return pytestconfig.stash[_ROOT]


@pytest.fixture(scope="session")
def downloads(pytestconfig: pytest.Config) -> Path:
    """Where downloads are kept between runs."""
    return pytestconfig.rootpath / ".headwater" / "downloads"


@pytest.fixture
def address_book(services_root: Path) -> AddressBook:
    return AddressBook(services_root)
