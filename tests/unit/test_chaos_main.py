"""`make chaos` ends with its JSON line however it ends."""

import json
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos.faults import UnknownFaultError
from tests.chaos.run import Run


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", "--cycles", "3"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    figures: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return figures


def test_a_process_that_ended_by_itself_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def end_early(run: Run) -> None:
        run.figures |= {"cycles": 2, "published": 700}
        raise RuntimeError("relay does not run: it ended")

    monkeypatch.setattr(Run, "run", end_early)
    assert chaos.main() == 1
    figures = last_line(capsys)
    assert figures["ok"] is False
    assert figures["reason"] == "RuntimeError: relay does not run: it ended"
    assert (figures["cycles"], figures["published"], figures["lost"]) == (2, 700, 0)
    assert list(tmp_path.iterdir())  # everything is kept


@pytest.mark.parametrize("wrong", ["lost", "duplicated", "unproven"])
def test_a_count_that_is_not_clean_is_status_1(
    wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "run", lambda run: run.figures.update({"published": 5, "stored": 5, wrong: 1}))
    assert chaos.main() == 1
    assert last_line(capsys)["ok"] is False


def test_a_clean_count_is_status_0_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(Run, "run", lambda run: run.figures.update(published=5, stored=5))
    assert chaos.main() == 0
    assert last_line(capsys)["ok"] is True
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("published", "told"), [(0, "published"), (5, "stored")])
def test_a_run_of_nothing_proves_nothing(
    published: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "run", lambda run: run.figures.update(published=published))
    assert chaos.main() == 1
    figures = last_line(capsys)
    assert (figures["ok"], figures["reason"]) == (False, f"Nothing was {told}.")


def test_ways_without_mqtt_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", "--ways", "files"])
    with pytest.raises(SystemExit):
        chaos.main()
    assert "--ways must name mqtt" in capsys.readouterr().err


def test_an_unknown_fault_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(_run: Run) -> None:
        raise UnknownFaultError("This run has no such fault.")

    monkeypatch.setattr(Run, "run", refuse)
    assert chaos.main() == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "This run has no such fault.\n")
    assert not list(tmp_path.iterdir())
