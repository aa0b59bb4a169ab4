"""A process that `up` starts finds the modules that its user's own sources stand in."""

import os
from pathlib import Path

import pytest

from infra.local.app import CODE, Worker
from infra.settings import load


def test_a_worker_finds_our_code_and_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/srv/mine")
    (tmp_path / "serve").mkdir()
    launch = Worker(tmp_path, environment=load().environment()).prepare()
    assert launch.environment["PYTHONPATH"] == os.pathsep.join([str(CODE), "/srv/mine"])


def test_without_modules_of_ones_own_it_finds_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "serve").mkdir()
    launch = Worker(tmp_path, environment=load().environment()).prepare()
    assert launch.environment["PYTHONPATH"] == str(CODE)
