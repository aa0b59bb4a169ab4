"""What goes wrong without anybody being killed: connections, clocks, disks, locks, brokers, contracts."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import yaml

from console.cli.exits import UNAVAILABLE
from lineage.errors import UnavailableError
from tests.chaos import clock
from tests.chaos.ground import Fault, Ground
from tests.chaos.process import Entry
from tests.chaos.proxy import Proxy
from tests.chaos.rig import HEADWATER
from tests.chaos.ways import MQTT

LONGEST_PACKET = 20_000  # bytes that are still carried before a cut
LONGEST_HOLD = 3.0  # seconds
LONGEST_JUMP = 1_500  # seconds; the readings were measured an hour ago, and must not be of the future
FULL_FOR = 3.0  # seconds
STUCK = "BEGIN; LOCK TABLE store.sensor_readings IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds})"
SILENT = "UPDATE store.listeners SET seen_at = seen_at - interval '1 hour' WHERE client_id = '{client_id}'"
TIGHTER = 80.0  # °C, below which readings of kind `edge` are not


def of_connections(ground: Ground) -> list[Fault]:
    """Cut within a packet, and held back, by the proxies."""
    acts: tuple[tuple[Callable[[Ground, Proxy], bool], int], ...] = ((cut, 2), (hold, 1))
    return [
        Fault(f"{act.__name__} {proxy.name}", weight, partial(act, ground, proxy))
        for proxy in ground.rig.proxies
        for act, weight in acts
    ]


def of_clocks(ground: Ground) -> list[Fault]:
    entries = [entry for entry in ground.rig.ours.all if entry.jumps]
    return [Fault(f"clock of {entry.name}", 1, partial(jump, ground, entry)) for entry in entries]


def of_the_rest(ground: Ground) -> list[Fault]:
    faults = [
        Fault("stuck query", 1, partial(stuck, ground)),
        Fault("refresh", 3, partial(refresh, ground)),
        Fault("postgres away for long", 1, partial(away, ground)),
        Fault("broker forgets everything", 1, partial(forget, ground)),
        Fault("listener dies for good", 1, partial(dies_for_good, ground), ends=True),
        Fault("contract changes", 2, partial(change_contract, ground), ends=True),
    ]
    return [*faults, *([Fault("disk full", 2, partial(full, ground))] if ground.rig.disk else [])]


def cut(ground: Ground, proxy: Proxy) -> bool:
    """Every connection, once it has carried some more bytes."""
    proxy.cut(ground.chance.randrange(LONGEST_PACKET))
    return True


def hold(ground: Ground, proxy: Proxy) -> bool:
    """Every connection: nothing is carried for a while."""
    proxy.hold(ground.chance.uniform(0.1, LONGEST_HOLD))
    return True


def jump(ground: Ground, entry: Entry) -> bool:
    """Forwards or backwards; it stays wrong until the next jump or start."""
    ground.wait_for(entry)
    clock.jump(entry.clock, ground.chance.randint(-LONGEST_JUMP, LONGEST_JUMP))
    return True


def stuck(ground: Ground) -> bool:
    """Somebody holds a lock on the table that everything is written to."""
    statement = STUCK.format(seconds=ground.longest)
    ground.wait_for(ground.rig.postgres)

    def hold_on() -> None:
        with suppress(UnavailableError):  # Postgres was ended meanwhile, and the lock with it
            ground.rig.sql(statement)

    ground.beside(hold_on)
    return True


def refresh(ground: Ground) -> bool:
    """Refresh the aggregates while everything is written to; a service may be away, nothing else."""
    number = ground.chance.randrange(1_000_000)

    def refreshed() -> None:
        status, _ = ground.rig.entry("refresh", log=f"refresh{number}")
        if status not in (0, UNAVAILABLE):
            log = ground.rig.root / "log" / f"refresh{number}.log"
            raise RuntimeError(f"A refresh failed with exit status {status}: see {log}.")

    ground.beside(refreshed)
    return True


def away(ground: Ground) -> bool:
    """Postgres is away for long: what is not read stays where it is, and memory stays flat."""
    rig = ground.rig
    ground.wait_for_all()
    rig.postgres.stop()
    time.sleep(min(5.0, ground.longest / 2))
    before = {entry.name: entry.memory for entry in rig.ours.all}
    time.sleep(ground.longest)
    ground.memory += [(entry.name, before[entry.name], entry.memory) for entry in rig.ours.all]
    ground.start(rig.postgres, away=0.0)
    return True


def forget(ground: Ground) -> bool:
    """The broker loses all it knew; its packet ids begin at 1 again, and everything is delivered again."""
    rig = ground.rig
    ground.wait_for(rig.broker)
    ground.kill(rig.broker)
    rig.database.unlink(missing_ok=True)
    ground.outbox.again_after(0.0)
    ground.start(rig.broker, away=0.0)
    return True


def dies_for_good(ground: Ground) -> bool:
    """One of two listeners: `doctor` names its slot, `--drain` empties it, and another comes."""
    rig = ground.rig
    entry, client_id = rig.ours.listeners[MQTT][1], "headwater-sensors-1"
    ground.wait_for_all()
    ground.kill(entry)
    rig.sql(SILENT.format(client_id=client_id))
    _, said = rig.run(HEADWATER, "doctor", "--json", log="doctor")
    if not any(client_id in finding["sentence"] for finding in json.loads(said)):
        raise RuntimeError(f"`headwater doctor` does not name {client_id}, which is absent.")
    rig.drain(1)
    ground.start(entry, away=0.0)
    return True


def change_contract(ground: Ground) -> bool:
    """One that is tightened and gets a new optional column, and every listener with it, one by one."""
    path = ground.rig.contracts / "sensor_readings.yaml"
    contract = yaml.safe_load(path.read_text())
    version = contract["version"] + 1
    contract["version"] = version
    contract["columns"]["temperature"]["maximum"] = TIGHTER
    contract["columns"][f"battery_{version}"] = {"type": "float", "unit": "V"}
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(contract, sort_keys=False))
    draft.replace(path)
    for group in ground.rig.ours.listeners.values():
        for entry in group:
            ground.again(entry)
    return True


def full(ground: Ground) -> bool:
    """Not a block is left for Postgres' tables, for a while."""
    disk = ground.rig.disk
    assert disk is not None
    ground.wait_for(ground.rig.postgres)  # which may need room for its recovery
    disk.fill()
    time.sleep(FULL_FOR)
    disk.clear()
    return True
