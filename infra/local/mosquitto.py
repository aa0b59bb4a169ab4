"""The MQTT broker Mosquitto, configured so that it neither throttles nor loses what waits for us.

Its defaults hold back a consumer that acknowledges after its commit (20 messages in flight) and throw away
what comes in while the consumer is away (1,000 messages).
"""

from pathlib import Path
from typing import ClassVar

from infra.local import process
from infra.local.addresses import LOOPBACK, Address
from infra.local.debian import find_mosquitto
from infra.local.service import Launch, LocalService

# Beyond 65,535 unacknowledged messages a broker has no packet ids left, and Mosquitto reuses them.
MAX_IN_FLIGHT = 60_000


class Mosquitto(LocalService):
    """A broker on loopback without passwords; sessions and queued messages survive its restart."""

    name: ClassVar[str] = "mosquitto"
    patience: ClassVar[float] = 20.0

    def provision(self) -> None:
        find_mosquitto(self.downloads)

    def prepare(self) -> Launch:
        program = find_mosquitto(self.downloads)
        port = self.port()
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(_configuration(port, self.directory), encoding="utf-8")
        return Launch(
            command=[program.path, "-c", configuration],
            environment=program.environment,
            url=f"mqtt://{LOOPBACK}:{port}",
            port=port,
        )

    def answers(self, address: Address) -> bool:
        return process.answers(address.port)


def _configuration(port: int, directory: Path) -> str:
    lines = {
        "listener": f"{port} {LOOPBACK}",
        "allow_anonymous": "true",  # it listens on loopback only
        "user": "root",  # only read when started as root: it must write to our directory
        "persistence": "true",
        "persistence_location": f"{directory}/",
        "autosave_on_changes": "true",
        "autosave_interval": "1",  # changes, not seconds: what it acknowledged survives kill -9
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
