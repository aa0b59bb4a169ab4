"""Alerts, dashboards and documents name only what there is."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from infra.metrics import Metrics, Outcome, Stage, Status

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
RULES = [
    rule
    for group in yaml.safe_load((INFRA / "prometheus/rules/headwater.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((INFRA / "grafana/dashboards/headwater.json").read_text(encoding="utf-8"))
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]

WORDS = {"sum", "rate", "increase", "max", "histogram_quantile", "time", "absent", "unless", "offset"}
GROUPING = r"\b(?:by|on)\s*\(([^)]*)\)"
SUFFIX = {"counter": "_total"}  # prometheus-client takes it off the name
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
FLOW_STATUS = {"completed", "failed"}  # what flows/runs.py counts
VALUES = {"stage": set(Stage), "status": {*Status, *Outcome, *FLOW_STATUS}}


def families() -> list[tuple[str, str, frozenset[str], str]]:
    """Every metric there is: name (of a counter without `_total`), type, labels, meaning."""
    return [
        (family.name, family.type, frozenset(collector._labelnames), family.documentation)
        for collector in vars(Metrics(CollectorRegistry())).values()
        if hasattr(collector, "_labelnames")
        for family in collector.describe()
    ]


def series() -> dict[str, frozenset[str]]:
    """Every series Prometheus sees → its labels; `up` is its own."""
    found: dict[str, frozenset[str]] = {"up": frozenset({"job", "instance"})}
    for name, kind, labels, _ in families():
        for suffix in SUFFIXES.get(kind, ("",)):
            found[name + suffix] = labels | ({"le"} if suffix == "_bucket" else frozenset())
    return found


EXPRESSIONS = [rule["expr"] for rule in RULES] + [t["expr"] for t in TARGETS if "expr" in t]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    known = series()
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    names = set(re.findall(r"\b[a-z_]\w+", re.sub(rf"\{{[^}}]*\}}|{GROUPING}", "", bare)))
    names -= WORDS | {"by", "on", "or"}
    assert names
    assert names <= known.keys()
    labels = frozenset().union(*(known[name] for name in names))
    asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", "".join(re.findall(r"\{[^}]*\}", bare))))
    asked |= {word.strip() for group in re.findall(GROUPING, bare) for word in group.split(",")}
    assert asked <= labels
    for label, value in re.findall(r'(\w+)\s*!?="([^"]*)"', expression):
        assert value in VALUES.get(label, {value}), f"{label} is never {value}"


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
    used = frozenset().union(*(known[name] for name in re.findall(r"\w+", expression) if name in known))
    assert set(re.findall(r"\$labels\.(\w+)", annotations["summary"])) <= used


def test_the_documents_alerts_are_the_rules() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (page|ticket) \|", text, re.MULTILINE)
    assert sorted(rows) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in RULES)


def test_the_documents_table_is_the_metrics() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name + SUFFIX.get(kind, '')}` | {kind} | {', '.join(sorted(labels))} | {meaning} |"
        for name, kind, labels, meaning in families()
    ]
    table = [line for line in text.splitlines() if re.match(r"\| `\w+_\w+` \|", line)]
    wanted = "\n".join(rows)
    assert table == rows, f"docs/metrics.md must say:\n{wanted}"
