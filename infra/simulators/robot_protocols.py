"""Protocols that the small robot plays: lists of commands, the same for the same seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

TIPS, RESERVOIR, PLATE, TRASH = "tips", "reservoir", "plate", "fixedTrash"
_LABWARE = (
    (TIPS, "opentrons_96_tiprack_300ul", "1", 1),
    (RESERVOIR, "nest_12_reservoir_15ml", "2", 1),
    (PLATE, "nest_96_wellplate_200ul_flat", "3", 2),
)
_PIPETTE = "p300_single_gen2"
FLOW_RATE = 92.86  # µL/s


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command before it is played. `labware` and `pipette` are names; the robot gives them ids."""

    command_type: str
    params: Mapping[str, Any]
    labware: str | None = None
    pipette: bool = False

    @property
    def key(self) -> str:
        """The same for the same command in every run, as the real robot's."""
        text = f"{self.command_type} {self.labware} {sorted(self.params.items(), key=str)}"
        return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named list of commands, and where it fails: in a command, or in its own Python after that command."""

    name: str
    steps: tuple[Step, ...]
    fails_at: int | None = None
    fails_in: Literal["command", "python"] = "command"

    @property
    def id(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"headwater:protocol:{self.name}"))


def serial_dilution(seed: int, name: str = "Serial dilution", pipette: str = _PIPETTE) -> Protocol:
    """Fill a row of a plate, then dilute along it; 65 to 131 commands, volumes in µL."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    columns, mixes = chance.randint(6, 9), chance.randint(1, 3)
    volume = float(chance.choice((40, 50, 80, 100)))
    steps = [Step(command_type="home", params={}), *_loads(pipette)]
    tips = iter(range(96))
    for column in range(2, columns + 2):
        source, target = (RESERVOIR, "A1"), (PLATE, f"A{column}")
        steps += _transfer(next(tips), source, target, volume, mixes=0)
    for column in range(1, columns + 1):
        source, target = (PLATE, f"A{column}"), (PLATE, f"A{column + 1}")
        steps += _transfer(next(tips), source, target, volume, mixes=mixes)
    return Protocol(name=name, steps=tuple(steps))


def failing(seed: int, fails_in: Literal["command", "python"] = "command") -> Protocol:
    """The same, but it ends in an error half way: of a command, or of the protocol's own Python."""
    whole = serial_dilution(seed)
    half = len(whole.steps) // 2
    return Protocol(name=f"Failing in its {fails_in}", steps=whole.steps, fails_at=half, fails_in=fails_in)


def _loads(pipette: str) -> list[Step]:
    loads = [
        Step(
            command_type="loadLabware",
            params={
                "location": {"slotName": slot},
                "loadName": load_name,
                "namespace": "opentrons",
                "version": version,
            },
            labware=name,
        )
        for name, load_name, slot, version in _LABWARE
    ]
    params = {
        "pipetteName": pipette,
        "mount": "left",
        "tipOverlapNotAfterVersion": "v0",
        "liquidPresenceDetection": False,
    }
    return [*loads, Step(command_type="loadPipette", params=params)]


def _transfer(
    tip: int, source: tuple[str, str], target: tuple[str, str], volume: float, mixes: int
) -> list[Step]:
    steps = [
        _at("pickUpTip", (TIPS, f"{'ABCDEFGH'[tip % 8]}{tip // 8 + 1}")),
        _liquid("aspirate", source, volume),
        _liquid("dispense", target, volume),
    ]
    for _ in range(mixes):
        steps += [_liquid("aspirate", target, volume / 2), _liquid("dispense", target, volume / 2)]
    return [*steps, _at("dropTip", (TRASH, "A1"))]


def _at(command_type: str, place: tuple[str, str], **more: Any) -> Step:
    labware, well = place
    where = {"origin": "top", "offset": {"x": 0.0, "y": 0.0, "z": 0.0}}
    params = {"wellName": well, "wellLocation": where, **more}
    return Step(command_type=command_type, params=params, labware=labware, pipette=True)


def _liquid(command_type: str, place: tuple[str, str], volume: float) -> Step:
    return _at(command_type, place, flowRate=FLOW_RATE, volume=volume)
