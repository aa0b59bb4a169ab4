"""A version is of the code that runs, whatever stands on the disk by now, and of what decides a value."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lineage.version import covered
from tasks.derived.aggregate import read_draft
from tasks.our_code import DECIDES_NOTHING, OURS
from tasks.transform.event import judge
from tasks.transform.transforms import TRANSFORMS

ROOT = Path(__file__).parents[2]
VERSIONS = """
from flows.catalog import SHIPPED, read_directories
catalog = read_directories([SHIPPED])
def versions():
    made = [*catalog.pipelines.values(), *catalog.derived.values()]
    return " ".join(sorted(each.transformation().id for each in made))
"""


OWN = """
doc: What a transform of one's own makes.
owner: us
source: {type: mqtt, topic: own/+}
transform: our_transform:refine
table:
  name: own
  key: [id, at]
  time: at
  columns:
    id: {type: text}
    at: {type: timestamp}
"""


@pytest.fixture(scope="module")
def before() -> str:
    """The versions of the code as it is."""
    return versions(ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project as a user has it in a repository that they pull."""
    for package in ("lineage", "tasks", "flows", "infra", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(place: Path, program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions(place: Path) -> str:
    return run(place, f"{VERSIONS}\nprint(versions())")


def added(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_what_is_pulled_under_a_running_process_gives_no_version(copy: Path, before: str) -> None:
    """The catalog is read, the disk moves on, and only then a version is asked for and a module loaded."""
    program = f"""{VERSIONS}
from pathlib import Path
import sys
assert "tasks.transform.place_data" not in sys.modules
for name in ("tasks/transform/weather.py", "tasks/transform/place_data.py", "tasks/derived/sql_columns.py"):
    path = Path({str(copy)!r}, name)
    path.write_text(path.read_text() + "\\nPULLED = 1\\n")
import tasks.transform.place_data, tasks.derived.sql_columns
assert tasks.transform.place_data.__file__ == str(Path({str(copy)!r}, "tasks/transform/place_data.py"))
print(hasattr(tasks.transform.place_data, "PULLED"), hasattr(tasks.derived.sql_columns, "PULLED"))
print(versions())
"""
    assert run(copy, program) == f"False False\n{before}"
    # A process that starts now is of the new code; steps are a part of every transform.
    assert not set(versions(copy).split()) & set(before.split())


def an_error(place: Path) -> None:
    added(place / "lineage" / "errors.py", "\n\nclass AnotherError(HeadwaterError):\n    pass\n")


def a_source(place: Path) -> None:
    added(place / "lineage" / "naming.py", "\n\ndef soap(action: str) -> str:\n    return f'soap:{action}'\n")
    (place / "tasks" / "extract" / "soap.py").write_text("from lineage.naming import soap\n")
    added(place / "tasks" / "extract" / "sources.py", "\nimport tasks.extract.soap\n")


def a_reserved_name(place: Path) -> None:
    added(place / "tasks" / "contract_names.py", "\nTABLES = frozenset({*TABLES, 'envelopes'})\n")


@pytest.mark.parametrize("change", [an_error, a_source, a_reserved_name])
def test_what_decides_no_value_changes_no_version(
    copy: Path, before: str, change: Callable[[Path], None]
) -> None:
    change(copy)
    assert versions(copy) == before


def test_every_module_that_is_left_out_is_there() -> None:
    for name in DECIDES_NOTHING:
        assert (ROOT / (name.replace(".", "/") + ".py")).is_file(), name


def test_what_a_version_covers_is_what_makes_its_values() -> None:
    """docs/pipelines.md says so."""
    readings = covered(TRANSFORMS["readings"].function, within=OURS, without=DECIDES_NOTHING)
    robots = covered(TRANSFORMS["experiments"].function, within=OURS, without=DECIDES_NOTHING)
    assert {"tasks.decode.messages", "tasks.transform.validate", "lineage.digest"} <= set(readings)
    assert {"tasks.transform.steps.lookup", "tasks.transform.place_data"} <= set(readings)
    assert {"tasks.transform.robot_pages", "tasks.transform.robot_deck"} <= set(robots)
    assert not any("robot" in name for name in readings)
    hour = covered(read_draft, within=("tasks",), without=DECIDES_NOTHING)
    message = covered(judge, within=OURS, without=DECIDES_NOTHING)
    for name in {*readings, *robots, *hour, *message}:
        assert name not in DECIDES_NOTHING
        assert not name.startswith(("tasks.extract", "lineage.proof", "infra", "flows")), name


def test_a_helper_beside_a_users_transform_is_a_part_of_it(copy: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "our_transform.py").write_text(
        "def refine(batch, reference, contracts):\n    import our_helper\n    return our_helper.made(batch)\n"
    )
    (mine / "our_helper.py").write_text("from our_data.factors import FACTOR\ndef made(b): return FACTOR\n")
    (mine / "our_data").mkdir()
    (mine / "our_data" / "factors.py").write_text("FACTOR = 1\n")
    (mine / "unrelated.py").write_text("OTHER = 1\n")
    folder = copy / "pipelines" / "own"
    folder.mkdir()
    (folder / "own.yaml").write_text(OWN)
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(mine)!r})
from flows.catalog import SHIPPED, read_directories
catalog = read_directories([SHIPPED])
own = catalog.pipelines["own"]
refine = own.refine()
Path({str(mine)!r}, "our_data", "factors.py").write_text("FACTOR = 1\\n")
import our_helper
print(own.transformation().id, our_helper.FACTOR)
"""
    before = run(copy, program)
    assert before.startswith("own@")
    changed = program.replace("FACTOR = 1", "FACTOR = 2")
    assert run(copy, changed) == before  # it was loaded before the file was another one
    assert run(copy, changed).endswith(" 2\n")
    assert run(copy, changed).split()[0] != before.split()[0]
    (mine / "our_data" / "factors.py").write_text("FACTOR = 1\n")
    (mine / "unrelated.py").write_text("OTHER = 2\n")
    assert run(copy, program) == before
