"""docs/engine.md, run as it stands: the engine's wheel in an empty environment, in somebody's project."""

import difflib
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import neo4j
import pytest

from infra.local.addresses import Address
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.prefect import login

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
UV = Path(sys.executable).with_name("uv")
ORDERS = "customer,price,paid,note\nann,2.5,true,x\nbob,4.0,false,y\nann,1.5,true,z\n"


def run(*command: object, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def block(title: str) -> str:
    """The code that stands under a title of the page."""
    found = re.search(rf"^{re.escape(title)}\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert found, title
    return found[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=ROOT / "lineage")
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the page installs, by its own pins alone."""
    home = tmp_path_factory.mktemp("environment")
    run(UV, "venv", "-q", "-p", sys.executable, "env", cwd=home)
    python = home / "env" / "bin" / "python"
    (line,) = re.findall(r"^uv pip install (.+)$", PAGE, re.M)
    options = ("-q", "--system-certs", "-p", python)
    run(UV, "pip", "install", *options, *shlex.split(line), cwd=ROOT)
    return python


def test_the_wheel_holds_the_engine_and_nothing_of_the_application(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "headwater_lineage",
        "headwater_lineage-0.1.0.dist-info",
    }
    folder = ROOT / "lineage"
    ours = {
        f"headwater_lineage/{file.relative_to(folder)}"
        for kind in ("py", "sql", "cypher")
        for file in folder.rglob(f"*.{kind}")
    }
    assert ours <= set(names)


def test_five_lines_are_other_than_before() -> None:
    before, after = (block(f"`./flows/daily.py`{when}").splitlines() for when in (" before", ""))
    changed = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert len(changed) == 5


def test_the_page_does_what_it_says(
    python: Path,
    tmp_path: Path,
    postgres_server: PostgresServer,
    empty_postgres_dsn: str,
    prefect_server: Address,
    graph_address: Address,
) -> None:
    project = tmp_path / "project"
    for title in ("tasks/totals.py", "flows/daily.py", "carry.py"):
        file = project / title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block(f"`./{title}`"), encoding="utf-8")
    (project / "orders.csv").write_text(ORDERS)
    database = empty_postgres_dsn.rpartition("/")[2]
    postgres_server.sql("CREATE TABLE totals (customer text, total float)", database)
    environment = {
        "DATABASE_URL": empty_postgres_dsn,
        "GRAPH_URL": graph_address.url,
        "GRAPH_USER": graph_address.user or "",
        "GRAPH_PASSWORD": graph_address.password or "",
        "GRAPH_DATABASE": graph_address.database or "neo4j",
        "PREFECT_API_URL": prefect_server.url,
        "PREFECT_API_AUTH_STRING": login(prefect_server),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    for module in ("infra", "lineage", "console"):
        looked = f"import importlib.util; print(importlib.util.find_spec({module!r}))"
        assert run(python, "-c", looked, cwd=project) == "None\n"
    (commands,) = re.findall(r"```sh\n(python carry.*?)```", PAGE, re.S)
    said = [
        run(python, *command.split()[1:], cwd=project, environment=environment)
        for command in commands.splitlines()
    ]
    assert said[-1] == "postgres:totals was made from file:orders.csv\n"
    assert said[-1].strip() in PAGE
    assert postgres_server.sql("SELECT customer, total FROM totals", database) == "ann|4"
    run(python, "-m", "flows.daily", cwd=project, environment=environment)
    run(python, "carry.py", cwd=project, environment=environment)
    assert_in_graph(graph_address)
    assert_in_log(lambda query: postgres_server.sql(query, database).splitlines())


def assert_in_graph(address: Address) -> None:
    def ask(query: str) -> list[dict[str, Any]]:
        assert address.user
        assert address.password
        with neo4j.GraphDatabase.driver(address.url, auth=(address.user, address.password)) as driver:
            return driver.execute_query(query, database_=address.database).records  # type: ignore[return-value]

    columns = ask(
        "MATCH (s:Column)-[:DERIVES]->(t:Column) WHERE t.dataset = 'postgres:totals' "
        "RETURN s.column AS source, t.column AS target"
    )
    assert {(row["source"], row["target"]) for row in columns} == {
        ("customer", "customer"),
        ("paid", "customer"),
        ("customer", "total"),
        ("paid", "total"),
        ("price", "total"),
    }
    runs = ask(
        "MATCH (t:Transformation)<-[:RAN]-(r:Run)-[:WROTE]->(b:Batch {dataset: 'postgres:totals'}) "
        "RETURN t.name AS name, count(DISTINCT t.version), count(DISTINCT r), count(DISTINCT b)"
    )
    assert [tuple(row.values()) for row in runs] == [("daily_totals", 1, 2, 2)]


def assert_in_log(ask: Callable[[str], list[str]]) -> None:
    how = ask(
        "SELECT source_facts->>'column', target_facts->>'column', facts->>'direct', facts->>'indirect' "
        "FROM lineage_log WHERE relationship_type = 'DERIVES' ORDER BY 1, 2"
    )
    assert how == [
        "customer|customer|IDENTITY|GROUP_BY",
        "customer|total||GROUP_BY",
        "paid|customer||FILTER",
        "paid|total||FILTER",
        "price|total|AGGREGATION|",
    ], "said once, though it ran twice"
    assert ask("SELECT count(*) FROM lineage_log WHERE relationship_type = 'FEEDS'") == ["2"]
    assert ask("SELECT count(*) FROM store.lineage_writers") == ["1"]
