"""Starting, recognising and ending a server's process, and finding it a port.

A server is started in a session of its own, so that it outlives us and does not hear our Ctrl-C; it is ended
by its pid, only while the time it was created still matches.
"""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra import private
from infra.local.addresses import LOOPBACK

# A server gets this and nothing of ours: no secret leaks into it, and nothing steers it by accident.
CLEAN_ENVIRONMENT = {"PATH": f"/usr/sbin:/sbin:{os.defpath}:/usr/local/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
_CLOCK_SLACK = 2.0  # seconds; the system works out a creation time from its clock, which may be set


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The user a server runs as, when not ours."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    user: SystemUser | None = None,
) -> int:
    """Start a detached process whose output goes to `log`; returns its pid."""
    private.own(log.parent)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=directory,
            env=CLEAN_ENVIRONMENT | {"HOME": str(directory)} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=private.UMASK,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    process.returncode = 0  # it is detached: Python must not warn that it still runs
    return process.pid


def created(pid: int) -> float | None:
    """When a process was created, seconds since 1970 UTC; None when it is gone or only waits to be reaped."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            process.wait(timeout=0)  # reaps it when it is our child
            return None
        return process.create_time()
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return None


def environment(pid: int) -> dict[str, str]:
    """The variables a process of ours was started with; empty when it is gone."""
    try:
        return psutil.Process(pid).environ()
    except psutil.NoSuchProcess:
        return {}


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that was created at `since` still runs under this pid."""
    found = created(pid)
    return found is not None and abs(found - since) < _CLOCK_SLACK


def end(pid: int, since: float, *, how: signal.Signals, patience: float) -> None:
    """Ask a process to end with signal `how`; after `patience` seconds, kill it and what it started."""
    if not is_alive(pid, since):
        return
    process = psutil.Process(pid)
    try:
        family = [process, *process.children(recursive=True)]
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs([process], timeout=patience)
    _, left = psutil.wait_procs(family, timeout=2 if created(pid) is None else 0)
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)


def free_port() -> int:
    """A free TCP port on loopback, below the ports that the system lends to outgoing connections.

    Between asking and binding, a port the system lends could go to any connection; these could not.
    """
    for _ in range(100):
        port = random.randint(20_000, 32_000)  # noqa: S311 -- not a secret
        if is_free(port):
            return port
    raise OSError("no free port between 20000 and 32000 on loopback")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections that just ended do not matter
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts TCP connections on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
