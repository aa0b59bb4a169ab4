"""A real Neo4j 5.26 community server without Docker: its libraries by Maven, started by a few lines of Java.

Only for who asks for it (`GRAPH=neo4j`, and the tests): it needs Java 17 and Maven, and 120 MB of downloads.
"""

import re
import subprocess
from pathlib import Path
from typing import ClassVar

from infra.local import process
from infra.local.addresses import LOOPBACK, Address
from infra.local.debian import find_or_install
from infra.local.maven import jars_of, version_in
from infra.local.service import Launch, LocalService
from lineage.errors import SettingsError

HERE = Path(__file__).parent / "neo4j"
POM = HERE / "pom.xml"
USER = "neo4j"
DATABASE = "neo4j"  # the community edition has this one
OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")  # packages of Java it reaches into


def version() -> str:
    """The version that our pom names, e.g. `5.26.24`."""
    return version_in(POM, "neo4j")


class Neo4j(LocalService):
    """A Neo4j server with authentication and Bolt on loopback; its database is `neo4j`."""

    name: ClassVar[str] = "neo4j"
    role: ClassVar[str] = "graph"
    patience: ClassVar[float] = 240.0  # each start compiles its source file and loads all anew

    @property
    def _is_ready(self) -> Path:
        return self.directory / "ready"

    def provision(self) -> None:
        _java()
        self._jars()

    def _jars(self) -> Path:
        return jars_of(POM, "neo4j", "Neo4j", self.downloads)

    def prepare(self) -> Launch:
        self._is_ready.unlink(missing_ok=True)
        port = self.port()
        password = self.password()
        configuration = self.directory / "neo4j.conf"
        configuration.write_text(_configuration(port), encoding="utf-8")
        return Launch(
            command=[
                *(_java(), "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"),
                *(part for name in OPENED for part in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")),
                *("-cp", f"{self._jars()}/*", HERE / "Server.java"),
                *(self.directory, configuration, password, self._is_ready),
            ],
            url=f"bolt://{LOOPBACK}:{port}",
            port=port,
            user=USER,
            password_file=password,
            database=DATABASE,
        )

    def answers(self, address: Address) -> bool:
        return self._is_ready.exists() and process.answers(address.port)


def _configuration(port: int) -> str:
    settings = {
        "server.default_listen_address": LOOPBACK,
        "server.bolt.enabled": "true",
        "server.bolt.listen_address": f"{LOOPBACK}:{port}",
        "server.bolt.advertised_address": f"{LOOPBACK}:{port}",
        "server.http.enabled": "false",
        "server.memory.pagecache.size": "128m",
        "db.tx_log.preallocate": "false",  # half a gigabyte, for nothing
        "dbms.security.auth_enabled": "true",
        "dbms.usage_report.enabled": "false",
        "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",  # else it takes ten seconds to stop
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _java() -> Path:
    """A Java that can run a source file: 17 or newer, with its compiler."""
    java = find_or_install("java", "openjdk-17-jdk-headless", "Java 17 (a JDK)")
    listed = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^jdk\.compiler@(\d+)", listed, re.MULTILINE)
    if found is None or int(found.group(1)) < 17:
        raise SettingsError(
            f"Neo4j needs a JDK of Java 17 or newer and {java} is none: install openjdk-17-jdk-headless."
        )
    return java
