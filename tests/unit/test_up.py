"""What `headwater up` prints of an address: a page only where there is one."""

from pathlib import Path

import pytest

from console.cli.up import show
from infra.local.addresses import Address


@pytest.mark.parametrize(
    ("service", "url", "page"),
    [
        ("prefect", "http://127.0.0.1:4200/api", "see http://127.0.0.1:4200,"),
        ("relay", "http://127.0.0.1:4200", "see http://127.0.0.1:4200/metrics,"),
        ("embedded", "bolt://127.0.0.1:7687", None),  # its HTTP port is for commands
    ],
)
def test_a_page_is_shown_of_what_has_one(
    service: str, url: str, page: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    show([Address(service=service, pid=1, created=0, port=1, url=url, log=Path("x.log"), http_port=4200)])
    said = capsys.readouterr().out
    assert url in said
    assert page in said if page else "see " not in said
