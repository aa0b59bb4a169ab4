"""Triggers: messages that start flow runs, each once; what `headwater serve` runs of the catalog's.

    MQTT ─message─▶ judge ─▶ commit ─▶ PUBACK                             receiver.py
                               │ event
                               ▼
    Postgres ─waiting─▶ Prefect: a flow run by the event's key ─▶ commit  starter.py, deployments.py

An event waits in Postgres until its flow run is recorded. A process that is killed before that asks Prefect
again, by the same key, and is told the same run. While Prefect is away, or the deployment is not there yet,
events wait; while Postgres is away, the message is not acknowledged and the broker keeps it.
"""

from flows.triggers.running import run_triggers

__all__ = ["run_triggers"]
