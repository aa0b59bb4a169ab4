"""Prefect loads a flow by its path, its folder first on sys.path: no file there shadows another module."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import yaml

from flows.worker.deploy import ROOT
from flows.worker.deployed_pulls import ENTRYPOINT


def _folders() -> set[Path]:
    said = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    paths = {ENTRYPOINT, *(deployment["entrypoint"] for deployment in said["deployments"])}
    return {(ROOT / path.partition(":")[0]).parent for path in paths}


@pytest.mark.parametrize("folder", sorted(_folders()), ids=lambda folder: folder.name)
def test_no_file_beside_a_flow_has_the_name_of_another_module(folder: Path) -> None:
    names = {path.stem for path in folder.iterdir()} - {"__init__", "__pycache__"}
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != folder]
    assert names
    assert not {
        name for name in names if name in sys.stdlib_module_names or PathFinder.find_spec(name, elsewhere)
    }
