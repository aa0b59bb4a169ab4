"""Alerts, dashboards and documents name only what there is."""

import importlib
import json
import re
from pathlib import Path, PurePosixPath

import pytest
import yaml
from prometheus_client import CollectorRegistry

from flows.process.ours import FLOW
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
COMPOSE = yaml.safe_load((INFRA / "compose/compose.yaml").read_text(encoding="utf-8"))["services"]

FLOW_STATUS = {"completed", "failed"}  # what flows/process/counting.py counts
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


def test_the_documents_stages_are_those_that_are_measured() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `stage` \| (.+) \|$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [stage.value for stage in Stage]


def test_the_documents_flows_are_those_that_are_deployed() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    flows = set()
    for deployment in deployments:
        path, _, function = deployment["entrypoint"].partition(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        flows.add(getattr(module, function).name.removeprefix(FLOW))
    assert flows <= {deployment["name"] for deployment in deployments}, "it is run by its name"
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    (row,) = re.findall(
        r"^\| `flow` \| the flow's name, of a pull its pipeline's: (.+) \|$", text, re.MULTILINE
    )
    assert set(re.findall(r"`([^`]+)`", row)) == flows | {"experiments"}


def mounted(service: str, path: str) -> Path:
    """The file of the repository that a container sees under `path`."""
    for volume in COMPOSE[service]["volumes"]:
        source, inside = volume.split(":")[:2]
        if source.startswith(".") and PurePosixPath(path).is_relative_to(inside):
            return (INFRA / "compose" / source / PurePosixPath(path).relative_to(inside)).resolve()
    raise AssertionError(f"{service} mounts nothing at {path}")


def test_grafana_finds_its_dashboard_and_where_each_panel_asks() -> None:
    provisioning = mounted("grafana", COMPOSE["grafana"]["environment"]["GF_PATHS_PROVISIONING"])
    (provider,) = yaml.safe_load((provisioning / "dashboards/headwater.yaml").read_text())["providers"]
    shown = mounted("grafana", provider["options"]["path"])
    assert [path.name for path in shown.glob("*.json")] == ["headwater.json"]
    sources = yaml.safe_load((provisioning / "datasources/headwater.yaml").read_text())["datasources"]
    kinds = {source["uid"]: source["type"] for source in sources}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            asked = target.get("datasource", panel["datasource"])["uid"]
            assert kinds[asked] == ("postgres" if "rawSql" in target else "prometheus"), panel["title"]
    hosts = {re.sub(r"^\w+://", "", source["url"]).partition(":")[0] for source in sources}
    assert hosts <= COMPOSE.keys()


def test_prometheus_finds_its_rules_and_scrapes_every_process_of_ours() -> None:
    configuration = mounted("prometheus", "/etc/prometheus/prometheus.yml")
    told = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    (pattern,) = told["rule_files"]
    assert [path.name for path in configuration.parent.glob(pattern)] == ["headwater.yml"]
    targets = told["scrape_configs"][0]["static_configs"][0]["targets"]
    serving = {
        f"{name}:{service['environment']['HEADWATER_METRICS_PORT']}"
        for name, service in COMPOSE.items()
        if "HEADWATER_METRICS_PORT" in service.get("environment", {})
    }
    assert set(targets) == serving
