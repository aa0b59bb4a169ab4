"""The relay goes on at once where more waits, and pauses where nothing does."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from flows import relay
from flows.process import lifecycle
from infra.metrics import Metrics
from lineage.relay import Carried


@pytest.mark.parametrize("behind", [True, False])
async def test_a_round_says_whether_more_waits(monkeypatch: pytest.MonkeyPatch, *, behind: bool) -> None:
    async def carry(*_: object) -> Carried:
        return Carried(3, datetime.now(UTC), behind)

    monkeypatch.setattr(relay.log_relay, "carry", carry)
    nobody: Any = None
    metrics, state = Metrics(CollectorRegistry()), lifecycle.State()
    assert await relay._carry(nobody, nobody, metrics, state) is behind
