"""What other users of the machine can see of us, and what of theirs we leave as it is."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import private
from infra.endpoints import resolve_prefect
from infra.local import postgres
from infra.local.addresses import Address
from infra.local.postgres import Postgres, reachable
from infra.local.prefect_server import PrefectServer
from infra.local.services import service, stop_all
from infra.settings import hand_down, load
from tests.fixtures.headwater import COMMAND
from tests.fixtures.prefect import login

STRANGER = 54_321  # a user id that owns nothing here
ROOT = os.geteuid() == 0
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "a home"
    stop_all(tmp_path / "a home")


def as_a_stranger(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it as another user, where we may."""
    become = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups") if ROOT else ()
    return subprocess.run([*become, *command], capture_output=True, text=True, check=False, cwd="/")


def open_to_others(home: Path) -> list[str]:
    """Every file and directory below that others may use; a link has no mode of its own."""
    found = [home, *home.rglob("*")]
    return [f"{each} {each.stat().st_mode:o}" for each in found if _is_open(each)]


def _is_open(path: Path) -> bool:
    return not path.is_symlink() and path.exists() and bool(path.lstat().st_mode & OTHERS)


def test_nothing_that_up_makes_is_open_to_others(tmp_path: Path, home: Path, prefect_server: Address) -> None:
    environment = {
        **os.environ,
        "HEADWATER_HOME": str(home),
        "HEADWATER_PREFECT_API_URL": prefect_server.url,
        "PREFECT_API_AUTH_STRING": login(prefect_server),
    }
    old = home / "log"  # as an older version made it
    old.mkdir(parents=True)
    home.chmod(0o755)
    old.chmod(0o755)
    command = [COMMAND, "up", "--services-only"]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, umask=0o022)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755, "its user made it"
    below = [found for each in home.iterdir() for found in open_to_others(each)]
    assert below == []
    assert {"postgres", "embedded", "mosquitto", "metrics", "tmp"} <= {each.name for each in home.iterdir()}


@pytest.mark.skipif(not ROOT, reason="only root may be another user")
def test_another_user_sees_no_password_no_data_and_no_environment(
    home: Path, prefect_server: Address
) -> None:
    address = service("postgres", home).start()
    assert address.password_file
    assert prefect_server.password_file
    assert address.password_file.stat().st_uid == 0, "not even the user that Postgres runs as reads it"
    secret = [address.password_file, prefect_server.password_file, home / "services.json", address.log]
    database = prefect_server.log.parents[1] / "prefect" / "prefect.db"
    for path in (*secret, database, Path(f"/proc/{prefect_server.pid}/environ")):
        assert path.exists()
        done = as_a_stranger("cat", path)
        assert (done.returncode, done.stdout) == (1, ""), path
    assert as_a_stranger("ls", home / "postgres").returncode != 0


def test_the_prefect_server_asks_everybody_for_its_password(prefect_server: Address) -> None:
    def status(*options: str) -> str:
        body = ("-X", "POST", "-H", "Content-Type: application/json", "-d", "{}")
        told = ("-s", "-o", "/dev/null", "-w", "%{http_code}")
        url = f"{prefect_server.url}/deployments/filter"
        return as_a_stranger("curl", *told, *body, *options, url).stdout

    assert status() == "401"
    assert status("-u", "headwater:guessed") == "401"
    assert status("-u", login(prefect_server)) == "200"
    page = as_a_stranger("curl", "-s", "-i", "-H", "Origin: http://elsewhere", f"{prefect_server.url}/health")
    assert "access-control-allow-origin" not in page.stdout.lower()
    command_line = Path(f"/proc/{prefect_server.pid}/cmdline").read_text()
    assert prefect_server.password
    assert prefect_server.password not in command_line + prefect_server.log.read_text()


def test_our_processes_get_the_password_by_their_environment_and_a_server_without_one_is_not_ours(
    prefect_server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = {
        "prefect": {
            "url": prefect_server.url,
            "user": prefect_server.user or "",
            "password": prefect_server.password or "",
        }
    }
    for name in ("HEADWATER_HOME", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))  # so that they are as before afterwards
    monkeypatch.setenv("PREFECT_RESULTS_LOCAL_STORAGE_PATH", "")
    monkeypatch.setattr("tempfile.tempdir", None)
    settings = load(home=tmp_path)
    found = resolve_prefect(settings, local)
    hand_down(settings, found.url, found.login)
    assert settings.environment()["PREFECT_API_AUTH_STRING"] == login(prefect_server)
    assert prefect_server.password not in repr(found)
    open_to_all = prefect_server.model_copy(update={"password_file": None, "user": None})
    assert PrefectServer(tmp_path).is_as_asked(prefect_server)
    assert not PrefectServer(tmp_path).is_as_asked(open_to_all)


def test_directories_that_were_there_keep_mode_and_owner(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for each, mode in ((tmp_path, 0o700), (given, 0o750)):
        each.chmod(mode)
    before = {each: each.stat() for each in (given, *given.parents[:2])}  # this run's own
    local = Postgres(given)
    try:
        address = local.start()  # as root it runs as a user who may not pass through `tmp_path`
        assert local.run_sql(address, "SELECT 1") == "1"
        local.kill()
        assert local.run_sql(local.start(), "SELECT 1") == "1"
    finally:
        stop_all(given)
    for each, was in before.items():
        now = each.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid), each


def test_programs_in_a_directory_that_is_closed_are_copied_and_it_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, copies = tmp_path / "closed", tmp_path / "copies"
    programs = closed / "pg" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").touch(mode=0o700)
    (closed / "pg" / "share").touch(mode=0o600)
    closed.chmod(0o700)
    monkeypatch.setattr(postgres, "COPIES", copies)
    found = reachable(programs)
    assert found == reachable(programs)
    assert found.is_relative_to(copies)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (copies, *found.parent.rglob("*"))}
    assert modes == {"copies": 0o755, "bin": 0o755, "postgres": 0o755, "share": 0o644}


def test_what_a_link_leads_to_is_its_users(tmp_path: Path) -> None:
    big, link = tmp_path / "big disk", tmp_path / "link"
    big.mkdir()
    big.chmod(0o755)
    link.symlink_to(big)
    assert stat.S_IMODE(private.own(link).stat().st_mode) == 0o755
    assert stat.S_IMODE(private.own(big).stat().st_mode) == 0o700
