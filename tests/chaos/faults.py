"""All faults, drawn by chance: each comes as often as its weight says before any comes again."""

from tests.chaos.ground import Fault, Ground
from tests.chaos.kills import of_moments, of_services
from tests.chaos.trouble import of_clocks, of_connections, of_the_rest


class Faults:
    """A bag of them, filled again when it is empty."""

    def __init__(self, ground: Ground, *, gentle: bool, without: frozenset[str]) -> None:
        """`gentle`: none that ends a process of ours; `without`: targets that are left alone."""
        kinds = (of_services, of_moments, of_connections, of_clocks, of_the_rest)
        self._faults = [
            fault
            for kind in kinds
            for fault in kind(ground)
            if not (gentle and fault.ends) and not without & set(fault.name.split())
        ]
        self._chance = ground.chance
        self._bag: list[Fault] = []

    def draw(self) -> Fault:
        if not self._bag:
            self._bag = [fault for fault in self._faults for _ in range(fault.weight)]
            self._chance.shuffle(self._bag)
        return self._bag.pop()
