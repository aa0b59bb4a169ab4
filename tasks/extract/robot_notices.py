"""What an OT-2's MQTT notices mean: a hint to fetch, never data.

Notices may be lost, repeated, late or spurious (deleting a run that is not there sends them too),
so whoever listens also polls, slowly.
"""

import json
from typing import Literal
from uuid import UUID

PREFIX = "robot-server/runs"
NOTICE_TOPICS = (PREFIX, f"{PREFIX}/#")
_REFETCH = {"refetch": True}


def runs_to_fetch(topic: str, payload: bytes) -> UUID | Literal["all"] | None:
    """Which run a notice speaks of; "all": some run, it does not say which; None: nothing to fetch.

    `robot-server/runs` and `robot-server/runs/commands_links` name no run. An `unsubscribe` says that a run
    was deleted: nothing is left to fetch.
    """
    if not _is_refetch(payload):
        return None
    if topic in (PREFIX, f"{PREFIX}/commands_links"):
        return "all"
    return _run_id(topic.removeprefix(f"{PREFIX}/").removeprefix("pre_serialized_commands/"))


def _is_refetch(payload: bytes) -> bool:
    try:
        notice = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(notice, dict) and notice.get("refetch") is True and notice == _REFETCH


def _run_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
