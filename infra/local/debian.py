"""What Debian can install for us: as root by its package manager, else unpacked into our own directory."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.addresses import locked
from infra.local.download import counted
from lineage.errors import SettingsError

_ALSO = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin")  # often not on a user's PATH


@dataclass(frozen=True, slots=True)
class Program:
    """A program and what its environment must hold."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find(program: str) -> Path | None:
    """A program on PATH, or where a system keeps its servers."""
    found = shutil.which(program) or shutil.which(program, path=os.pathsep.join(_ALSO))
    return Path(found) if found else None


def find_or_install(program: str, package: str, title: str) -> Path:
    """Find a program; as root on Debian install its package; else SettingsError says what to install."""
    found = find(program)
    if found is None and may_install():
        install(package, title)
        found = find(program)
    if found is None:
        raise SettingsError(f"{title} is not installed: install the package `{package}`.")
    return found


def install(package: str, title: str) -> None:
    """Install a Debian package, as root; raises SettingsError when apt-get cannot."""
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"]
    command = [*apt, "install", "--no-install-recommends", package]
    done = counted(command, title, each="Get:")
    if done.code != 0:  # a fresh machine has no package lists yet
        counted([*apt, "update"], "Debian's package lists", each="Get:")
        done = counted(command, title, each="Get:")
    if done.code != 0:
        raise SettingsError(f"apt-get could not install {package}: {_reason(done.lines)}.")


def unpacked(program: str, package: str, directory: Path) -> Program | None:
    """A program that `unpack` has put under `directory` before, or None."""
    places = [directory / package / "usr" / folder / program for folder in ("sbin", "bin")]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return None
    libraries = os.pathsep.join(
        str(each) for each in sorted((directory / package / "usr" / "lib").glob("*/"))
    )
    return Program(path, {"LD_LIBRARY_PATH": libraries} if libraries else {})


def unpack(package: str, title: str, directory: Path) -> None:
    """Download a Debian package and what it lacks here, and unpack all into `directory`/`package`.

    Needs no administrator: apt-get keeps its state in our directory, and nothing is installed.
    Raises SettingsError when it cannot.
    """
    with locked(directory / f"{package}.lock"):
        if (directory / package).exists():
            return
        work = directory / f"{package}.draft"
        shutil.rmtree(work, ignore_errors=True)
        for each in ("lists/partial", "cache/archives/partial", "debs", "root"):
            (work / each).mkdir(parents=True)
        private = ["-o", f"Dir::State::Lists={work / 'lists'}", "-o", f"Dir::Cache={work / 'cache'}"]
        apt = ["apt-get", "--quiet", *private]
        _must(["env", "-C", work, *apt, "update"], "Debian's package lists", package)
        names = _missing(apt, package)
        _must(["env", "-C", work / "debs", *apt, "download", *names], title, package)
        for archive in sorted((work / "debs").glob("*.deb")):
            subprocess.run(["dpkg", "-x", archive, work / "root"], check=True, capture_output=True)
        (work / "root").replace(directory / package)
        shutil.rmtree(work)


def may_install() -> bool:
    """Whether we are root on a system with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _missing(apt: list[str], package: str) -> list[str]:
    """The package and those it needs that this machine has not, as apt-get would install them."""
    plan = subprocess.run(
        [*apt, "--simulate", "--no-install-recommends", "--reinstall", "install", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")] or [package]


def _must(command: list[str | Path], title: str, package: str) -> None:
    done = counted(command, title, each="Get:")
    if done.code != 0:
        raise SettingsError(
            f"{title} could not be downloaded ({_reason(done.lines)}): install the package `{package}`."
        )


def _reason(lines: tuple[str, ...]) -> str:
    return next((line for line in reversed(lines) if line.startswith(("E:", "Err"))), "see its output")
