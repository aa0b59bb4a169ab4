"""Prefect's own server on SQLite: schedules, run history and its web page, all on this machine.

Whoever may use it runs code as the user of our worker, so it asks for a password, and no page of another
server's may call it from a browser.
"""

import sys
from typing import ClassVar

from infra.local import http_probe
from infra.local.addresses import LOOPBACK, Address
from infra.local.service import Launch, LocalService

USER = "headwater"


class PrefectServer(LocalService):
    """A Prefect server; `url` is the API's, for `PREFECT_API_URL`. The web page is at the same port."""

    name: ClassVar[str] = "prefect"
    role: ClassVar[str] = "prefect"
    patience: ClassVar[float] = 300.0  # the first start creates its database, in 20 s of a free processor

    def prepare(self) -> Launch:
        port, password = self.port(), self.password()
        here = f"http://{LOOPBACK}:{port}"
        return Launch(
            command=[
                *(sys.executable, "-m", "infra.local.prefect_main", "--no-prompt", "server", "start"),
                *("--host", LOOPBACK, "--port", str(port), "--analytics-off"),
            ],
            environment={
                "PREFECT_HOME": str(self.directory),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
                "PREFECT_SERVER_API_HOST": LOOPBACK,
                "PREFECT_SERVER_API_PORT": str(port),
                "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{password.read_text(encoding='utf-8')}",
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": here,
                "PREFECT_SERVER_UI_API_URL": f"{here}/api",
                "PREFECT_LOGGING_TO_API_ENABLED": "false",
                "DO_NOT_TRACK": "1",
            },
            url=f"{here}/api",
            port=port,
            user=USER,
            password_file=password,
            http_port=port,
        )

    def answers(self, address: Address) -> bool:
        return http_probe.status(address.port, "/api/health") == 200

    def is_as_asked(self, address: Address) -> bool:
        """An older version started it without a password."""
        return address.password_file is not None
