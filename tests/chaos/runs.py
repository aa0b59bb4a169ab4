"""Counts what became of every run of the robot: plain SQL, and what the robot itself says."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from tests.chaos.robot import Run

EXPERIMENTS = "SELECT experiment_id, status FROM store.experiments"
STEPS = "SELECT experiment_id, step_id, status FROM store.experiment_steps"
REJECTED = "SELECT count(*) FROM store.rejected WHERE dataset LIKE 'opentrons:%'"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Runs that are stored, that are not as the robot ended them, and rows that are too many."""

    stored: int
    lost: int
    duplicated: int


async def count(dsn: str, runs: Mapping[str, Run]) -> Verdict:
    """Each run once, with its end, and each of its steps once, with its end."""
    connection = await asyncpg.connect(dsn)
    try:
        experiments = await connection.fetch(EXPERIMENTS)
        steps = await connection.fetch(STEPS)
        rejected = await connection.fetchval(REJECTED)
    finally:
        await connection.close()
    stored = Counter((row["experiment_id"], row["status"]) for row in experiments)
    stored_steps = Counter((row["experiment_id"], row["step_id"], row["status"]) for row in steps)
    wanted = Counter((key, run.status) for key, run in runs.items())
    wanted_steps = Counter((key, *command) for key, run in runs.items() for command in run.commands.items())
    return Verdict(
        stored=len(stored),
        lost=(wanted - stored).total() + (wanted_steps - stored_steps).total(),
        duplicated=(stored - wanted).total() + (stored_steps - wanted_steps).total() + rejected,
    )
