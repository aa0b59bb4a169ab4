"""Prefect's command, when its server has no time for it."""

from pathlib import Path

import pytest

from flows.worker import deploy
from lineage.errors import RejectedError, UnavailableError

BUSY = "DeploymentApplyError: Server error '503 Service\n Unavailable' for url 'http://127.0.0.1:4200/api'"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Instead of Prefect: a program that fails with each sentence of a file in turn, then does well."""
    program, left = tmp_path / "prefect", tmp_path / "left"
    program.write_text(
        f"#!/bin/sh\n[ -s {left} ] || exit 0\ncat {left}.$(wc -c < {left})\ntruncate -s -1 {left}\nexit 1\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(deploy.sys, "executable", str(program))
    monkeypatch.setattr(deploy._run_prefect.retry, "sleep", _at_once)  # type: ignore[attr-defined]
    return left


async def _at_once(_seconds: float) -> None: ...


def fail_with(left: Path, *sentences: str) -> None:
    left.write_text("x" * len(sentences))
    for number, sentence in enumerate(reversed(sentences), 1):
        left.with_name(f"left.{number}").write_text(sentence)


def sentences_left(left: Path) -> int:
    return len(left.read_text())


async def test_a_busy_server_is_asked_again(runs: Path) -> None:
    fail_with(runs, BUSY, BUSY)
    await deploy._run_prefect("deploy")
    assert sentences_left(runs) == 0


async def test_a_server_that_stays_busy_is_unavailable(runs: Path) -> None:
    fail_with(runs, BUSY, BUSY, BUSY)
    with pytest.raises(UnavailableError, match="too busy"):
        await deploy._run_prefect("deploy")


async def test_what_is_refused_is_not_tried_again(runs: Path) -> None:
    fail_with(runs, "no such work pool", BUSY)
    with pytest.raises(RejectedError, match="no such work pool"):
        await deploy._run_prefect("deploy")
    assert sentences_left(runs) == 1
