"""The alerts fire when they should and are quiet when not, evaluated by promtool on made-up series."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.debian import Program

PROMETHEUS = Path(__file__).parents[2] / "infra" / "prometheus"
CASES_FILE = Path(__file__).with_name("alerts.yml")
CASES: list[dict[str, Any]] = yaml.safe_load(CASES_FILE.read_text(encoding="utf-8"))["tests"]
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((PROMETHEUS / "rules" / "headwater.yml").read_text(encoding="utf-8"))[
        "groups"
    ]
    for rule in group["rules"]
]


def run(promtool: Program, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool.path, *arguments],
        env={**os.environ, **promtool.environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_prometheus_takes_the_configuration(promtool: Program) -> None:
    done = run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_alerts_fire_when_they_should_and_only_then(promtool: Program) -> None:
    done = run(promtool, "test", "rules", CASES_FILE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    asked = [t for case in CASES for t in case["alert_rule_test"] if t["alertname"] == alert]
    assert {bool(t.get("exp_alerts")) for t in asked} == {True, False}
