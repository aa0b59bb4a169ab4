"""Which faults `make chaos` draws, and what becomes of a moment that does not come."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import ground as grounds
from tests.chaos import kills, trouble
from tests.chaos.faults import Faults, UnknownFaultError
from tests.chaos.ground import Ground


class Process:
    """One of ours that never reaches a moment."""

    jumps = False

    def __init__(self, name: str) -> None:
        self.name, self.armed, self.did = name, False, list[str]()

    def arm(self, _moment: str) -> None:
        self.armed = True

    def disarm(self) -> bool:
        self.armed = False
        return False

    def kill(self) -> None:
        self.did.append("kill")

    def start(self) -> None:
        self.did.append("start")


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(grounds, "running", lambda _target: None)
    monkeypatch.setattr(grounds, "AWAY", (0.0,))
    monkeypatch.setattr(kills, "MOMENT_PATIENCE", 0.05)
    return Process("relay")


def ground(
    relay: Process, *, gentle: bool = False, without: frozenset[str] = frozenset(), **rig: Any
) -> Ground:
    ours = SimpleNamespace(all=(relay,), listeners={}, relay=relay, serve=None)
    given: Any = SimpleNamespace(
        targets=(relay,), ours=ours, proxies=(), disk=None, graph=Process("graph"), **rig
    )
    outbox: Any = None
    chance = random.Random(7)  # noqa: S311 -- not a secret
    return Ground(given, outbox, chance, 1.0, gentle=gentle, without=without)


def drawn(faults: Faults, count: int) -> list[str]:
    return [faults.draw().name for _ in range(count)]


def test_a_bag_of_named_faults_holds_each_once(relay: Process) -> None:
    names = ["kill relay", "refresh", "relay at sealed"]
    faults = Faults(ground(relay), names)
    assert sorted(drawn(faults, 3)) == sorted(drawn(faults, 3)) == names


def test_all_faults_come_as_often_as_they_weigh(relay: Process) -> None:
    without = frozenset({"graph"})
    bag = drawn(Faults(ground(relay, without=without), None), 17)
    assert (bag.count("kill relay"), bag.count("refresh"), bag.count("relay at sealed")) == (2, 3, 1)
    assert bag == drawn(Faults(ground(relay, without=without), None), 17)


def test_who_is_away_on_purpose_is_left_alone_and_not_taken_for_one_that_ended(
    relay: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(target: Process) -> None:
        raise RuntimeError(f"{target.name} does not run")

    monkeypatch.setattr(grounds, "running", ended)
    for look in (Ground.look, Ground.wait_for_all):
        look(ground(relay, without=frozenset(["relay"])))
        with pytest.raises(RuntimeError, match="relay does not run"):
            look(ground(relay))
    with pytest.raises(UnknownFaultError):
        Faults(ground(relay, without=frozenset(["relay"])), ["kill relay"])


def test_an_unknown_name_is_told_with_known_ones(relay: Process) -> None:
    with pytest.raises(UnknownFaultError, match=r'no fault "kill rely".* "kill relay"'):
        Faults(ground(relay), ["kill relay", "kill rely"])


@pytest.mark.parametrize(("gentle", "did", "killed"), [(False, ["kill", "start"], 1), (True, [], 0)])
def test_a_moment_that_does_not_come_is_a_plain_kill_but_in_a_soak(
    gentle: bool, did: list[str], killed: int, relay: Process
) -> None:
    with ground(relay, gentle=gentle) as standing:
        entry: Any = relay
        assert not kills.at(standing, entry, "unanswered")
        standing.wait_for_all()
    assert (relay.did, standing.kills) == (did, killed)


@pytest.mark.parametrize(("status", "raises"), [(0, False), (3, False), (1, True), (2, True)])
def test_a_refresh_may_meet_a_service_away_and_nothing_else(
    status: int, raises: bool, relay: Process, tmp_path: Path
) -> None:
    with ground(relay, root=tmp_path, entry=lambda *_, **__: (status, b"")) as standing:
        assert trouble.refresh(standing)
        if raises:
            with pytest.raises(RuntimeError, match=f"exit status {status}"):
                standing.wait_for_all()
        else:
            standing.wait_for_all()
