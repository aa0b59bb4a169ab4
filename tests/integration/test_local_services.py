"""Every local service starts, is found again, survives being killed, and leaves nothing behind."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from infra.local import debian, process, services
from infra.local.addresses import Address, AddressBook
from infra.local.mosquitto import Mosquitto
from infra.local.services import SERVICES, endpoints, service, stop_all
from lineage.errors import NotFoundError, SettingsError, UnavailableError
from tests.fixtures.waiting import until

ENGINES = ["postgres", "embedded", "mosquitto"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "a directory" / ".headwater"
    yield root
    stop_all(root)


def started_by_us(root: Path) -> list[psutil.Process]:
    """Every process whose working directory lies under `root`."""
    found = []
    for candidate in psutil.process_iter():
        try:
            if Path(candidate.cwd()).is_relative_to(root):
                found.append(candidate)
        except (psutil.Error, OSError):
            continue
    return found


def listening_on(processes: list[psutil.Process]) -> set[str]:
    """The addresses that these processes accept connections on."""
    found: set[str] = set()
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # servers start and end short-lived processes
            connections = each.net_connections("tcp")
            found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert found
    return found


@pytest.mark.parametrize("name", [*ENGINES, "neo4j", "prefect"])
def test_starts_once_and_stops_cleanly(name: str, root: Path, downloads: Path) -> None:
    local = service(name, root, downloads)
    assert local.address() is None
    assert not local.ready()

    first = local.start()
    assert local.ready()
    assert AddressBook(root).get(name) == first
    assert service(name, root, downloads).start() == first, "a second start finds the first one's server"
    assert listening_on(started_by_us(root)) <= {"127.0.0.1", "::ffff:127.0.0.1"}  # the latter by Java

    local.stop()
    assert not local.ready()
    assert not process.answers(first.port)
    assert started_by_us(root) == []
    assert AddressBook(root).read() == {}
    local.stop()  # nothing left to stop: not an error


@pytest.mark.parametrize("name", ENGINES)
def test_starts_again_at_the_same_port_after_it_was_killed(name: str, root: Path, downloads: Path) -> None:
    local = service(name, root, downloads)
    first = local.start()
    local.kill()
    second = local.start()
    assert second.pid != first.pid
    assert second.url == first.url
    assert local.ready()


def test_two_starts_at_once_start_one(root: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(lambda _: service("postgres", root).start(), range(4)))
    assert len(set(addresses)) == 1


def test_a_process_that_took_the_pid_is_left_alone(root: Path, downloads: Path) -> None:
    local = service("mosquitto", root, downloads)
    address = local.start()
    other = address.model_copy(update={"created": address.created - 60})
    AddressBook(root).put(other)
    local.stop()
    assert process.answers(address.port), "its creation time did not match: it is not ours to stop"
    AddressBook(root).put(address)
    local.stop()
    assert not process.answers(address.port)


def test_no_password_in_the_address_book_nor_on_a_command_line(root: Path) -> None:
    for name in ("postgres", "embedded"):
        address = service(name, root).start()
        assert address.password
        assert address.password not in (root / "services.json").read_text()
        assert address.password not in " ".join(psutil.Process(address.pid).cmdline())
        assert address.password_file
        assert address.password_file.stat().st_mode & 0o077 == 0


def test_clients_find_what_runs_by_its_role(root: Path, downloads: Path) -> None:
    assert endpoints(root) == {}
    postgres = service("postgres", root).start()
    broker = service("mosquitto", root, downloads).start()
    assert endpoints(root) == {
        "postgres": {
            "url": postgres.url,
            "user": "headwater",
            "password": postgres.password,
            "database": "headwater",
        },
        "mqtt": {"url": broker.url},
    }
    service("mosquitto", root).kill()
    AddressBook(root).put(broker)  # as it stands after a power cut
    assert set(endpoints(root)) == {"postgres"}


def test_a_server_that_fails_to_start_says_why(root: Path, downloads: Path) -> None:
    local = service("mosquitto", root, downloads)
    database = root / "mosquitto" / "mosquitto.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"not a database of Mosquitto's")
    with pytest.raises(UnavailableError, match="did not become ready"):
        local.start()
    assert started_by_us(root) == []


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="unpacks Debian's packages")
def test_mosquitto_without_being_installed_nor_root(
    root: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "find", lambda _: None)
    monkeypatch.setattr(debian, "may_install", lambda: False)
    local = service("mosquitto", root, downloads)
    address = local.start()
    assert Path(psutil.Process(address.pid).exe()).is_relative_to(downloads)
    assert local.ready()


def test_mosquitto_that_cannot_be_had_says_what_to_install(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "find", lambda _: None)
    monkeypatch.setattr(debian, "may_install", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SettingsError, match="install the package `mosquitto`"):
        service("mosquitto", root, tmp_path).start()


async def test_what_mosquitto_holds_for_a_client_survives_kill(root: Path, downloads: Path) -> None:
    local = Mosquitto(root, downloads, autosave_changes=1)
    published = 100
    with subscriber(local.start()):
        pass  # its session stays
    publish(local.start(), published)
    local.kill()
    with subscriber(local.start()) as received:
        await until(lambda: len(received) >= published - 1)


@contextmanager
def subscriber(address: Address) -> Iterator[list[bytes]]:
    """A client whose session outlives it; yields what it receives at QoS 1."""
    received: list[bytes] = []
    granted = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="keeper", clean_session=False)
    client.on_message = lambda _client, _data, message: received.append(bytes(message.payload))
    client.on_subscribe = lambda *_: granted.set()
    client.connect("127.0.0.1", address.port)
    client.subscribe("kept/#", qos=1)
    client.loop_start()
    assert granted.wait(10)
    yield received
    client.disconnect()
    client.loop_stop()


def publish(address: Address, count: int) -> None:
    """Publish at QoS 1, one after the other, each acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", address.port)
    client.loop_start()
    for number in range(count):
        client.publish("kept/x", str(number), qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_an_unknown_service_is_named(root: Path) -> None:
    with pytest.raises(NotFoundError, match="'cassandra'"):
        service("cassandra", root)


def test_url_with_password_escapes(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p@ss/word\n")
    address = Address(
        service="x",
        pid=1,
        created=0,
        port=2,
        url="bolt://127.0.0.1:2/db",
        log=secret,
        user="u",
        password_file=secret,
    )
    assert address.url_with_password == "bolt://u:p%40ss%2Fword@127.0.0.1:2/db"


def test_every_service_has_a_file_and_a_name() -> None:
    here = Path(services.__file__).parent
    written = {each.stem for each in here.glob("*.py") if "(LocalService):" in each.read_text()}
    registered = {kind.__module__.rsplit(".", 1)[1] for kind in SERVICES.values()}
    assert registered == written
    assert all(name == kind.name for name, kind in SERVICES.items())
