"""A transformation's version: a hash of what its code does, the same at every moment of a process."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lineage.version import _imported, _keep, _kept, _source, beside, transformation_of

FILES = {
    "__init__.py": "",
    "start.py": """
        from .near import FACTOR

        def scale(value):
            from brewery import late  # only when it is needed
            return late.shifted(value) * FACTOR
        """,
    "near.py": "FACTOR = 2",
    "late.py": """
        def shifted(value):
            return value + 1
        """,
    "other.py": "UNUSED = 1",
}


@pytest.fixture
def brewery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user's own; what is loaded of it is forgotten afterwards."""
    for name, text in FILES.items():
        write(tmp_path / "brewery" / name, text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "brewery"
    forget()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))


def forget() -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "brewery"]:
        del sys.modules[name]
    for each in (_imported, _source, _keep):
        each.cache_clear()
    _kept.clear()


def start() -> ModuleType:
    """The module read anew, as a process that starts does."""
    forget()
    importlib.invalidate_caches()
    return importlib.import_module("brewery.start")


def version(module: ModuleType) -> str:
    return transformation_of(module.scale, name="scale", within=["brewery"], parameters={}).version


def test_a_module_imported_when_it_is_needed_counts_before_and_after(brewery: Path) -> None:
    module = start()
    before = version(module)
    assert "brewery.late" not in sys.modules
    assert module.scale(1) == 4
    assert "brewery.late" in sys.modules
    assert version(module) == before
    write(brewery / "late.py", FILES["late.py"].replace("+ 1", "+ 3"))
    assert version(start()) != before


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("near.py", "FACTOR = 3", True),
        ("near.py", '"""What beer is scaled by."""\n\nFACTOR  =  2  # twice', False),
        ("other.py", "UNUSED = 2", False),
    ],
)
def test_what_is_done_changes_it_and_nothing_else(
    brewery: Path, file: str, text: str, *, changes: bool
) -> None:
    before = version(start())
    write(brewery / file, text)
    assert (version(start()) != before) is changes


def test_a_script_has_the_version_of_the_same_code_as_a_module(brewery: Path) -> None:
    module = start()
    expected = version(module)
    module.__name__ = module.scale.__module__ = "__main__"
    main = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        assert version(module) == expected
    finally:
        sys.modules["__main__"] = main


def test_what_stands_beside_a_function_is_its_users(brewery: Path) -> None:
    write(brewery.parent / "helper.py", "")
    (brewery.parent / "json").mkdir()  # of data
    assert beside(start().scale) == ("brewery", "helper")
    assert beside(pytest.fixture) == ("_pytest", "py", "pytest")  # all of its distribution


def test_to_find_the_version_loads_nothing(brewery: Path) -> None:
    module = start()
    version(module)
    assert "brewery.late" not in sys.modules
    write(brewery / "late.py", "raise RuntimeError('loaded')")
    version(start())
