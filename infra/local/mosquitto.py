"""The MQTT broker Mosquitto, configured so that it neither throttles nor loses what waits for us.

Its defaults hold back a consumer that acknowledges after its commit (20 messages in flight) and throw away
what comes in while the consumer is away (1,000 messages).
"""

import shutil
from pathlib import Path
from typing import ClassVar

from infra.local import debian, process
from infra.local.addresses import LOOPBACK, Address
from infra.local.debian import Program
from infra.local.service import Launch, LocalService
from lineage.errors import SettingsError

# Beyond 65,535 unacknowledged messages a broker has no packet ids left, and Mosquitto reuses them.
MAX_IN_FLIGHT = 60_000

# A save writes everything that is queued, so the price of saving often grows with the queue. Taking in 20,000
# messages for a consumer that is away: 400 a second when it saves after every change (then kill -9 loses one
# at most), 18,000 after 100, 83,000 after 1,000, 120,000 without. It also saves when it is stopped.
AUTOSAVE_CHANGES = 1_000


class Mosquitto(LocalService):
    """A broker on loopback without passwords; sessions and queued messages survive its restart."""

    name: ClassVar[str] = "mosquitto"
    role: ClassVar[str] = "mqtt"
    patience: ClassVar[float] = 20.0

    def __init__(
        self, root: Path, downloads: Path | None = None, *, autosave_changes: int = AUTOSAVE_CHANGES
    ) -> None:
        """`autosave_changes`: how many changes to its queues it may lose when it is killed."""
        super().__init__(root, downloads)
        self.autosave_changes = autosave_changes

    def provision(self) -> None:
        find_mosquitto(self.downloads)

    def prepare(self) -> Launch:
        program = find_mosquitto(self.downloads)
        port = self.port()
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(
            _configuration(port, self.directory, self.autosave_changes), encoding="utf-8"
        )
        return Launch(
            command=[program.path, "-c", configuration],
            environment=program.environment,
            url=f"mqtt://{LOOPBACK}:{port}",
            port=port,
        )

    def answers(self, address: Address) -> bool:
        return process.answers(address.port)


def find_mosquitto(downloads: Path) -> Program:
    """Find Mosquitto; as root install it; else unpack it under `downloads`; else raise SettingsError."""
    found = debian.find("mosquitto")
    if found is None and debian.may_install():
        debian.install("mosquitto", "Mosquitto")
        found = debian.find("mosquitto")
    if found is not None:
        return Program(found)
    if shutil.which("apt-get") and shutil.which("dpkg"):
        debian.unpack("mosquitto", "Mosquitto", downloads)
    program = debian.unpacked("mosquitto", "mosquitto", downloads)
    if program is None:
        raise SettingsError("Mosquitto is not installed: install the package `mosquitto`.")
    return program


def _configuration(port: int, directory: Path, autosave_changes: int) -> str:
    lines = {
        "listener": f"{port} {LOOPBACK}",
        "allow_anonymous": "true",  # it listens on loopback only
        "user": "root",  # only read when started as root: it must write to our directory
        "persistence": "true",
        "persistence_location": f"{directory}/",
        "autosave_on_changes": "true",
        "autosave_interval": str(autosave_changes),  # changes, not seconds, because of the line above
        "max_inflight_messages": str(MAX_IN_FLIGHT),
        "max_queued_messages": "0",  # no limit
        "max_queued_bytes": "0",
        "set_tcp_nodelay": "true",
        "log_dest": "stderr",
        "log_type": "error",
        "connection_messages": "false",
    }
    # The listener comes last: what follows a listener would belong to it.
    listener = lines.pop("listener")
    return "".join(f"{name} {value}\n" for name, value in (*lines.items(), ("listener", listener)))
