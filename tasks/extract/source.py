"""What every source is, whether it is asked (`pull.py`) or never ends (`stream.py`).

A class that keeps one of the two ports is a source wherever it stands: `source: {type: module:Class, …}`. It
reads no settings: what it needs is given to it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from infra.connection import ConnectionName
from tasks.contract import Frozen
from tasks.pattern import Pattern


class Source(Frozen, ABC):
    """What a pipeline says of it; `dataset`: its URI, of a scheme of its own."""

    type: str
    connection: ConnectionName | None = None

    @property
    @abstractmethod
    def dataset(self) -> str: ...

    @property
    def location_pattern(self) -> Pattern | None:
        """Its records have no named parts of a place."""
        return None

    def datasets(self, _robots: Sequence[str]) -> Sequence[str]:
        """What this source gives, as URIs."""
        return (self.dataset,)

    def gives(self, dataset: str) -> bool:
        """Whether the dataset (a URI) is this source's."""
        return dataset == self.dataset
