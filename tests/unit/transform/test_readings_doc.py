"""`docs/readings.md` names every rule that a reading can break, and no other."""

import re
from datetime import UTC, datetime
from pathlib import Path

from tasks.decode import cells, header
from tasks.decode.payload import PAYLOAD_SENTENCES
from tasks.pattern import topic_pattern
from tasks.transform import reading_rules
from tasks.transform.validate import rules_of
from tests.fixtures.catalogs import contract as contract_of

ROOT = Path(__file__).parents[3]
FILES = {header.NEAR, header.NONE, header.TWICE, "payload.encoding"}
LISTENER = {"load.refused", "transform.failed"}  # tasks/load/refused.py


def test_the_rules_documented_are_the_rules_there_are() -> None:
    contract = contract_of("sensor_readings")
    rules = [
        *reading_rules.location_rules(topic_pattern("sensors/{device_id}/readings"), contract),
        *rules_of(contract, datetime.now(UTC), cells.schema(contract)),
    ]
    there = {rule.name for rule in rules} | set(PAYLOAD_SENTENCES) | LISTENER | FILES
    table = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8").partition("## Rules")[2]
    rows = [
        line.split("|")[2] for line in table.splitlines() if re.match(r"\| (decode|validate|load) ", line)
    ]
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == there
