"""Our own long-lived commands as local services: they use the others, so they start last and end first."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from infra.local import http_probe, process
from infra.local.addresses import LOOPBACK, Address
from infra.local.service import Launch, LocalService
from infra.settings import MODULES

CODE = Path(__file__).parents[2]
"""Where the code that runs now lies: what it starts runs the same, not what is installed."""
OWN = ("HEADWATER_HOME", "HEADWATER_METRICS_HOST", "HEADWATER_METRICS_PORT")
"""Variables that say where a process is, the same whatever the settings are."""


class App(LocalService):
    """One `headwater` command, named as it is; `url` is where it serves /metrics and /health."""

    stop_patience: ClassVar[float] = 40.0  # what is under way is brought to its end

    def __init__(
        self, root: Path, downloads: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment` is what the command reads its settings from (see `Settings.environment`)."""
        super().__init__(root, downloads)
        self._environment = dict(environment or {})
        self.changed: tuple[str, ...] = ()  # settings for which `start` ended the one that ran

    def prepare(self) -> Launch:
        port = self.port()
        own = dict(zip(OWN, (str(self.root), LOOPBACK, str(port)), strict=True))
        modules = [str(CODE), *filter(None, [self._environment.get(MODULES)])]
        return Launch(
            command=[Path(sys.executable).with_name("headwater"), self.name],
            environment=self._environment | own | {MODULES: os.pathsep.join(modules)},
            url=f"http://{LOOPBACK}:{port}",
            port=port,
            http_port=port,
        )

    def answers(self, address: Address) -> bool:
        return http_probe.status(address.port, "/health") == 200

    def is_as_asked(self, address: Address) -> bool:
        """Whether it was started with the settings it is to have now; `changed` names those that differ."""
        had, asked = _settings(process.environment(address.pid)), _settings(self._environment)
        self.changed = tuple(sorted(name for name in had | asked if had.get(name) != asked.get(name)))
        return not self.changed


class Listener(App):
    """`headwater listen`."""

    name: ClassVar[str] = "listen"
    role: ClassVar[str] = "listen"

    def answers(self, address: Address) -> bool:
        """Whether every stream has begun, or says why it cannot: one that stands still stops no start."""
        status, body = http_probe.get(address.port, "/health")
        return status in (200, 503) and json.loads(body)["state"] != "starting"


class Relay(App):
    """`headwater relay`."""

    name: ClassVar[str] = "relay"
    role: ClassVar[str] = "relay"


class Worker(App):
    """`headwater serve`; it deploys every flow before it is ready."""

    name: ClassVar[str] = "serve"
    role: ClassVar[str] = "serve"
    patience: ClassVar[float] = 180.0


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold settings."""
    names = environment.keys() - set(OWN)
    return {name: environment[name] for name in names if name.startswith(("HEADWATER_", "PREFECT_"))}
