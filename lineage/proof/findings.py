"""The differences that a proof finds: of each check the first in words, all in number."""

from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 50
"""Sentences kept of each check; the rest are counted."""


@dataclass(slots=True)
class Findings:
    """Check → its differences."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many there are, whether they are kept or not."""
        return sum(self.counted.values())

    def add(self, check: str, differences: Iterable[str]) -> None:
        for difference in differences:
            self.counted[check] = self.counted.get(check, 0) + 1
            if self.counted[check] <= KEPT:
                self.kept.setdefault(check, []).append(difference)

    def sentences(self) -> tuple[str, ...]:
        found: list[str] = []
        for check, kept in self.kept.items():
            found += kept
            if (more := self.counted[check] - len(kept)) > 0:
                found.append(f"{check}: {more} more difference(s), {self.counted[check]} in all")
        return tuple(found)
