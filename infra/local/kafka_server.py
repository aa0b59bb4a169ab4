"""A real Kafka broker without Docker: its libraries by Maven, one process that is broker and controller.

Only for who asks for it (`KAFKA=1`, and the tests): it needs Java 17 and Maven, and 46 MB of downloads.
"""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import ClassVar

from infra.local import process
from infra.local.addresses import LOOPBACK, Address
from infra.local.debian import find_or_install
from infra.local.maven import jars_of
from infra.local.service import Launch, LocalService
from lineage.errors import UnavailableError

POM = Path(__file__).parent / "kafka" / "pom.xml"


class Kafka(LocalService):
    """A broker on loopback without passwords; topics and offsets survive its restart."""

    name: ClassVar[str] = "kafka"
    role: ClassVar[str] = "kafka"
    patience: ClassVar[float] = 120.0

    def provision(self) -> None:
        self._java()
        self._jars()

    def prepare(self) -> Launch:
        port = self.port()
        configuration = self.directory / "kafka.properties"
        configuration.write_text(
            _configuration(port, self.port("controller"), self.directory), encoding="utf-8"
        )
        java: list[str | Path] = [self._java(), "-Xms128m", "-Xmx512m", "-cp", f"{self._jars()}/*"]
        if not (self.directory / "log" / "meta.properties").exists():
            self._format([*java, "kafka.tools.StorageTool", "format"], configuration)
        return Launch(
            command=[*java, "kafka.Kafka", configuration], url=f"kafka://{LOOPBACK}:{port}", port=port
        )

    def answers(self, address: Address) -> bool:
        return process.answers(address.port)

    def _java(self) -> Path:
        return find_or_install("java", "openjdk-17-jdk-headless", "Java 17")

    def _jars(self) -> Path:
        return jars_of(POM, "kafka", "Kafka", self.downloads)

    def _format(self, command: list[str | Path], configuration: Path) -> None:
        """Make the directory of its log; its id must not look like an option."""
        identity = "H" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        done = subprocess.run(
            [*command, "--cluster-id", identity, "--config", configuration],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise UnavailableError(self.name, done.stderr[-500:], "Its directory could not be made.")


def _configuration(port: int, controller: int, directory: Path) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "log.dirs": f"{directory}/log",
        "num.partitions": "4",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
