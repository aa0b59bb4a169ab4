"""ArcadeDB from the `arcadedb-embedded` wheel, with the Java it brings, run as a server that speaks Bolt.

The wheel is meant to run inside our process; as a server of its own it is reached by the same driver as
Neo4j and outlives us. Its traps as a Cypher engine are listed where queries are written.
"""

import json
from typing import ClassVar

from infra.local import http_probe, process
from infra.local.addresses import LOOPBACK, Address
from infra.local.service import Launch, LocalService, package_directory
from lineage.errors import UnavailableError

PACKAGE = package_directory("arcadedb_embedded")
USER = "root"
DATABASE = "headwater"
QUERY_TIMEOUT_MS = 60_000  # the driver's own timeout is ignored by this engine


class EmbeddedGraph(LocalService):
    """An ArcadeDB server with one database, `headwater`; Bolt at `url`, HTTP at `http_port`."""

    name: ClassVar[str] = "embedded"
    role: ClassVar[str] = "graph"

    def prepare(self) -> Launch:
        password = self.password()
        bolt, http = self.port(), self.port("http_port")
        options = {
            "server.rootPath": self.directory,
            "server.rootPasswordPath": password,  # by path: a command line can be read by every user
            "server.databaseDirectory": self.directory / "databases",
            "server.logsDirectory": self.directory / "log",
            "server.mode": "development",  # "production" conceals what is wrong with a statement
            "opencypher.loadCsv.allowFileUrls": "false",  # as in production
            "server.name": "headwater",
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "server.httpIncomingHost": LOOPBACK,
            "server.httpIncomingPort": http,
            "bolt.host": LOOPBACK,
            "bolt.port": bolt,
            "bolt.defaultDatabase": DATABASE,
            "txWalFlush": 1,  # a commit is on disk before it is answered
            "command.timeout": QUERY_TIMEOUT_MS,
        }
        return Launch(
            command=[
                *(
                    PACKAGE / "jre" / "bin" / "java",
                    "-Xmx1g",
                    "-Djava.awt.headless=true",
                    "-Dfile.encoding=UTF8",
                ),
                *("--add-opens", "java.base/java.nio.channels.spi=ALL-UNNAMED"),
                *("--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"),
                *(f"-Darcadedb.{name}={value}" for name, value in options.items()),
                *("-cp", f"{PACKAGE / 'jars'}/*", "com.arcadedb.server.ArcadeDBServer"),
            ],
            url=f"bolt://{LOOPBACK}:{bolt}",
            port=bolt,
            user=USER,
            password_file=password,
            database=DATABASE,
            http_port=http,
        )

    def answers(self, address: Address) -> bool:
        assert address.http_port is not None  # noqa: S101 -- set by `prepare`
        return http_probe.status(address.http_port, "/api/v1/ready") == 204 and process.answers(address.port)

    def settle(self, address: Address) -> None:
        listed = json.loads(self.command(address, "list databases"))
        if DATABASE not in listed["result"]:
            self.command(address, f"create database {DATABASE}")

    def command(self, address: Address, command: str) -> str:
        """Run a server command, e.g. `create database x`; returns its JSON answer."""
        assert address.http_port is not None and address.user and address.password  # noqa: S101, PT018
        status, text = http_probe.post(
            address.http_port,
            "/api/v1/server",
            {"command": command},
            user=address.user,
            password=address.password,
        )
        if status != 200:
            raise UnavailableError(self.name, f"it answered {status} to {command!r}: {text[:200]}")
        return text
