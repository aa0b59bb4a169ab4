"""When a source is asked: what a pipeline may say is what Prefect takes, for it is deployed unseen."""

import pytest
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from flows.catalog.schedule import PullSchedule
from lineage.errors import ContractError

GOOD = (
    *("*/10 * * * *", "5 4 * * mon-fri", "0 0 1,15 jan,JUL *"),
    *("0 0 * * 7", "59 23 31 12 *", "0 8-18/2 * * *"),
)
BAD = (
    *("0 0 L * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * MON#1", "0 0 ? * *"),
    *("* * * * * *", "@hourly", "* * * *", "61 * * * *", "* * * * noday", "0 0 30 2 *", ""),
)


@pytest.mark.parametrize("cron", GOOD)
def test_a_cron_line_is_one_that_prefect_takes(cron: str) -> None:
    said = PullSchedule(cron=cron, zone="Europe/Berlin")
    assert CronSchedule(cron=said.cron or "", timezone=said.zone).cron == cron


@pytest.mark.parametrize("cron", BAD)
def test_what_prefect_would_refuse_is_refused_when_it_is_read(cron: str) -> None:
    with pytest.raises(ValidationError, match="it is no cron line: write five fields"):
        PullSchedule(cron=cron)


def test_it_is_one_of_two_in_a_zone_that_is_there() -> None:
    for said in ({}, {"cron": "* * * * *", "every": "PT1H"}):
        with pytest.raises(ContractError, match="a schedule is one of two"):
            PullSchedule.model_validate(said)
    with pytest.raises(ValidationError, match="no time zone is 'Europe/Bern'"):
        PullSchedule(cron="* * * * *", zone="Europe/Bern")
