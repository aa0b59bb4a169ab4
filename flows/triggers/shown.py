"""What a trigger does, as /health and the log tell it: how it receives, what waits and why."""

from uuid import UUID

import structlog

from flows.process.lifecycle import State
from lineage.counted import counted

log = structlog.get_logger(__name__)


class Shown:
    """One trigger's line at /health; a reason for waiting that is new is logged, and its end."""

    def __init__(self, trigger: str, state: State) -> None:
        self._trigger, self._state = trigger, state
        self._receiving, self._waiting, self._why = "starting", "", ""

    def receiving(self, what: str) -> None:
        self._receiving = what
        self._show()

    def waits(self, number: int, why: str) -> None:
        """How many events wait for their flow runs, and why."""
        if why != self._why:
            log.warning("events wait for their flow runs", trigger=self._trigger, reason=why)
        self._waiting = f"{counted(number, 'event')} {'waits' if number == 1 else 'wait'}: {why}"
        self._why = why
        self._show()

    def waits_no_more(self) -> None:
        if self._why:
            log.info("every event has its flow run", trigger=self._trigger)
        self._waiting = self._why = ""
        self._show()

    def started(self, event: UUID, flow_run: UUID) -> None:
        log.info("flow run started", trigger=self._trigger, of=str(event), flow_run=str(flow_run))
        self._state.did("start", event=event, flow_run=flow_run)

    def _show(self) -> None:
        said = f"{self._receiving}; {self._waiting}" if self._waiting else self._receiving
        self._state.tell(f"trigger {self._trigger}", said)
