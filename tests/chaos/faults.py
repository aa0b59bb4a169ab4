"""All faults, drawn from a bag by chance: in each bag a fault is as often as its weight says."""

from collections.abc import Collection, Sequence

from tests.chaos.ground import Fault, Ground
from tests.chaos.kills import of_moments, of_services
from tests.chaos.poison import of_poison
from tests.chaos.record import of_records
from tests.chaos.trouble import of_clocks, of_connections, of_the_rest
from tests.chaos.uploads import of_uploads

AHEAD = 5  # cycles before a fault in which what it needs is done
KNOWN = 8  # faults at most that are named to whoever named one that is not


class UnknownFaultError(Exception):
    """No fault of this run has the name that was given."""


class Faults:
    """A bag of them, filled again when it is empty."""

    def __init__(self, ground: Ground, only: Collection[str] | None) -> None:
        """`only`: names of faults, each once in a bag; raises UnknownFaultError for one that there is not."""
        kinds = (
            *(of_services, of_moments, of_connections, of_clocks, of_the_rest),
            *(of_uploads, of_poison, of_records),
        )
        faults = [
            fault
            for kind in kinds
            for fault in kind(ground)
            if not (ground.gentle and fault.ends) and not ground.without & set(fault.name.split())
        ]
        weighed = [fault for fault in faults for _ in range(fault.weight)]
        self._full = _named(only, faults) if only else weighed
        self._chance = ground.chance
        self._bag: list[Fault] = []

    def draw(self) -> Fault:
        if not self._bag:
            self._bag = [*self._full]
            self._chance.shuffle(self._bag)
        for fault in self._bag[-AHEAD:]:
            if fault.ahead:
                fault.ahead()
        return self._bag.pop()


def _named(names: Collection[str], faults: Sequence[Fault]) -> list[Fault]:
    known = {fault.name: fault for fault in faults}
    if unknown := [name for name in names if name not in known]:
        some = ", ".join(f'"{name}"' for name in [*known][:: len(known) // KNOWN + 1])
        raise UnknownFaultError(f'This run has no fault "{unknown[0]}": name others, for example {some}.')
    return [known[name] for name in dict.fromkeys(names)]
