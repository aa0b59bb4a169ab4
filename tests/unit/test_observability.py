"""Alerts, dashboards and documents name only what there is."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from infra.metrics import Metrics

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
RULES = [
    rule
    for group in yaml.safe_load((INFRA / "prometheus/rules/headwater.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((INFRA / "grafana/dashboards/headwater.json").read_text(encoding="utf-8"))
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]

WORDS = {"sum", "rate", "increase", "max", "histogram_quantile", "time", "absent", "__rate_interval"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def series() -> dict[str, frozenset[str]]:
    """Every series Prometheus sees → its labels."""
    found: dict[str, frozenset[str]] = {}
    metrics = Metrics(CollectorRegistry())
    for collector in vars(metrics).values():
        if not hasattr(collector, "_labelnames"):
            continue
        labels = frozenset(collector._labelnames)
        for family in collector.describe():
            for suffix in SUFFIXES.get(family.type, ("",)):
                found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else frozenset())
    return found


EXPRESSIONS = [rule["expr"] for rule in RULES] + [t["expr"] for t in TARGETS if "expr" in t]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    known = series()
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    names = set(re.findall(r"\b[a-z_][a-z_0-9]{2,}", re.sub(r"\{[^}]*\}|by \([^)]*\)", "", bare))) - WORDS
    assert names
    assert names <= known.keys()
    labels = frozenset().union(*(known[name] for name in names))
    asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", "".join(re.findall(r"\{[^}]*\}", bare))))
    asked |= {word.strip() for group in re.findall(r"by \(([^)]*)\)", bare) for word in group.split(",")}
    assert asked <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happened_and_what_to_do(rule: dict[str, object]) -> None:
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["summary"].endswith(".")
    assert annotations["action"].endswith(".")
    labels = rule["labels"]
    assert isinstance(labels, dict)
    assert labels["severity"] in ("page", "ticket")
    expression = str(rule["expr"])
    known = series()
    used = frozenset().union(*(known[name] for name in known if name in expression))
    assert set(re.findall(r"\$labels\.(\w+)", annotations["summary"])) <= used


def test_a_metric_that_may_alert_is_described() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", text, re.MULTILINE))
    known = series()
    names = {re.sub(r"_(bucket|sum|count)$", "", name): labels - {"le"} for name, labels in known.items()}
    assert documented.keys() == names.keys()
    for name, labels in names.items():
        assert set(re.findall(r"\w+", documented[name])) == labels, name
