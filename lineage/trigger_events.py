"""Events that start runs, as the record tells of them: each is a batch, and so is the start it led to.

    mqtt:FILTER#N ─FEEDS─▶ trigger_events#N ─FEEDS─▶ deployment:FLOW/DEPLOYMENT#M
                                                                ▲
                                              Run (the flow run) ─WROTE

The event's node carries a digest of what is kept of it, the start's node names the flow run. The start is the
first that is recorded of its run: what else the run leaves stands beside it, under the same Run.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from . import apart, naming
from .model import Node, NodeKind, micros

EVENT: Final = "event"
"""How the ledger calls the commit of a trigger's message."""
START: Final = "start"
"""How it calls that of a flow run."""
EVENTS: Final = naming.postgres("trigger_events")


def deployment(name: str) -> str:
    """The runs of a Prefect deployment, by its name."""
    return f"deployment:{name}"


def run_of(flow_run: UUID, *, ours: bool) -> Node:
    """A flow run as it is called elsewhere in the record; what else is said of it, it says itself.

    A run of ours records its commits under its own id, one of others is known by the assets that it makes.
    """
    return Node(NodeKind.RUN, str(flow_run if ours else apart.run_id(apart.PREFECT, str(flow_run))))


def digest_of(event: Mapping[str, Any]) -> str:
    """SHA-256 of what a row of `store.trigger_events` says of its event, whether it is started or not."""
    names = ("event", "trigger_name", "topic", "key", "parameters", "batch")
    said = [*(event[name] for name in names), micros(event["received_at"])]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False, default=str).encode()).hexdigest()
