"""What is broken in a pipeline folder is told wherever somebody looks, and the others go on."""

import json
from pathlib import Path

import pytest

from console.asked.doctor import CATALOG, examine
from console.asked.status import status
from console.asked.trace import traced
from flows import catalog
from flows.acts.replay import _reader
from flows.catalog import Catalog
from flows.process import lifecycle
from infra.doctor.finding import Level
from infra.settings import load
from lineage.errors import ContractError, NotFoundError
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.headwater import Command

WRONG = "colums: Extra inputs are not permitted, did you mean columns?"


@pytest.fixture
def broken(tmp_path: Path) -> Catalog:
    """The shipped folders, with a table that cannot be read, and so three pipelines and an aggregate."""
    path = catalogs.copied(tmp_path) / "sensors" / "tables" / "sensor_readings.yaml"
    path.write_text(path.read_text().replace("\ncolumns:", "\ncolums:"))
    return catalog.read_directories((tmp_path / "pipelines",))


async def test_doctor_status_and_health_tell_the_file_and_what_is_wrong(
    broken: Catalog, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn)
    found = [each for each in await examine(settings, broken) if each.part == CATALOG]
    assert {each.level for each in found} == {Level.PROBLEM}
    assert len(found) == len(broken.broken) == 5
    assert any(WRONG in each.sentence for each in found)
    (well,) = [each for each in await examine(settings, SHIPPED) if each.part == CATALOG]
    assert (well.level, well.sentence) == (Level.OK, "4 pipelines read")
    assert any(WRONG in each for each in (await status(settings, broken)).broken)
    assert WRONG in lifecycle.left_out(broken.broken)["left out: sensor_readings"]


def test_the_commands_tell_it_of_a_folder_of_ones_own(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs.written(tmp_path / "own" / "meters" / "pipeline.yaml", "ownr: me\n")
    monkeypatch.setenv("HEADWATER_PIPELINES", str(tmp_path / "own"))
    said = json.loads(command("status", "--json").stdout)["broken"]
    assert len(said) == 1
    assert "pipeline.yaml: " in said[0]
    assert "did you mean owner?" in said[0]
    done = command("listen", "--pipeline", "meters")
    assert done.returncode == 2
    assert "Pipeline meters is broken" in done.stderr.decode()


async def test_what_is_broken_is_not_said_to_be_gone(broken: Catalog) -> None:
    with pytest.raises(ContractError, match=r"^Pipeline sensors is broken: "):
        _reader(broken, "mqtt:sensors/+/readings", "sensors", None)
    with pytest.raises(ContractError, match=r"^Table sensor_readings is broken: .*colums"):
        await traced(load(), broken, "sensor_readings", "a", None, 1)
    with pytest.raises(NotFoundError, match=r"^There is no table sensors: choose from experiment_steps, "):
        await traced(load(), broken, "sensors", "a", None, 1)
