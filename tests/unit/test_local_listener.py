"""When `up` takes the listener for started: once every stream has begun, or says why it cannot."""

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from infra.local.addresses import Address
from infra.local.app import Listener
from infra.metrics_server import Health, serve


@pytest.mark.parametrize(
    ("state", "ok", "started"),
    [("starting", False, False), ("listening", True, True), ("power: ended: Slot 0 is taken", False, True)],
)
def test_one_stream_that_cannot_begin_stops_no_start(
    tmp_path: Path, state: str, *, ok: bool, started: bool
) -> None:
    with serve(CollectorRegistry(), health=lambda: Health(ok=ok, detail={"state": state})) as url:
        port = int(url.rpartition(":")[2])
        address = Address(
            service="listen",
            pid=os.getpid(),
            created=0.0,
            port=port,
            url=url,
            log=tmp_path / "listen.log",
        )
        assert Listener(tmp_path).answers(address) is started
