"""When a source that is asked is asked: a cron line in a time zone, or a span of time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from lineage.errors import ContractError
from tasks.contract import Frozen
from tasks.contract_rules import is_zone

FIELDS: Final = 5
_NO_CRON: Final = 'it is no cron line: write five fields, as in "*/10 * * * *"'
_NOT_PREFECTS: Final = re.compile(r"\bLW?\b|\dL\b|#|\?", re.IGNORECASE)
"""What other readers of cron lines know and Prefect's does not."""


def _is_cron(said: str) -> str:
    from cronsim import CronSim, CronSimError  # here: no stream has a schedule

    if len(said.split()) != FIELDS or _NOT_PREFECTS.search(said):
        raise ValueError(f"{_NO_CRON}, of numbers, names of days and months, and * , - /")
    try:
        CronSim(said, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{_NO_CRON} ({error})") from error
    return said


def _is_known(zone: str) -> str:
    if not is_zone(zone):
        raise ValueError(f"no time zone is {zone!r}: write an IANA name, as Europe/Berlin")
    return zone


class PullSchedule(Frozen):
    """One of the two: `cron`, five fields in `zone`, or `every`."""

    cron: Annotated[str, AfterValidator(_is_cron)] | None = None
    zone: Annotated[str, AfterValidator(_is_known)] = "UTC"
    every: Annotated[timedelta, Field(ge=timedelta(seconds=1))] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ContractError('a schedule is one of two: write `cron: "0 * * * *"`, or `every: PT1H`')
        return self
