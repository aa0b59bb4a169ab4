"""Prefect's own server on SQLite: schedules, run history and its web page, all on this machine."""

import sys
from typing import ClassVar

from infra.local import http_probe
from infra.local.addresses import LOOPBACK, Address
from infra.local.service import Launch, LocalService


class PrefectServer(LocalService):
    """A Prefect server; `url` is the API's, for `PREFECT_API_URL`. The web page is at the same port."""

    name: ClassVar[str] = "prefect"
    role: ClassVar[str] = "prefect"
    patience: ClassVar[float] = 120.0  # the first start creates its database

    def prepare(self) -> Launch:
        port = self.port()
        return Launch(
            command=[
                *(sys.executable, "-m", "prefect", "--no-prompt", "server", "start"),
                *("--host", LOOPBACK, "--port", str(port), "--analytics-off"),
            ],
            environment={
                "PREFECT_HOME": str(self.directory),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
                "PREFECT_SERVER_API_HOST": LOOPBACK,
                "PREFECT_SERVER_API_PORT": str(port),
                "PREFECT_SERVER_UI_API_URL": f"http://{LOOPBACK}:{port}/api",
                "PREFECT_LOGGING_TO_API_ENABLED": "false",
                "DO_NOT_TRACK": "1",
            },
            url=f"http://{LOOPBACK}:{port}/api",
            port=port,
            http_port=port,
        )

    def answers(self, address: Address) -> bool:
        return http_probe.status(address.port, "/api/health") == 200
