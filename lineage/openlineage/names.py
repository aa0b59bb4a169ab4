"""Our dataset URIs as OpenLineage's namespaces and names, and back.

Our URIs hold no host and no port, OpenLineage's namespaces do: where each store is comes from outside, as
`places`. A dataset of somebody else's keeps its namespace in its URI, `openlineage:{namespace}/{name}`. One
of ours whose store has no place stands under its URI in our own namespace. Each rule can be turned round, so
that nothing exported comes back as something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ..apart import HEADWATER, OPENLINEAGE

FOREIGN = OPENLINEAGE
OWN = "headwater"
"""The namespace of our jobs, and of datasets whose store has no place; `places` may give another."""


class Name(NamedTuple):
    """What OpenLineage calls a dataset or a job."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Names:
    """The translation, for one house.

    `places` gives the first word of our URIs its store's URL: `postgres` → `postgres://host:5432/database`,
    `mqtt` → `mqtt://host:1883`, and `headwater` → the name of our own namespace. `store` is the identity of
    our store, by which we know what we told ourselves.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    @property
    def own(self) -> str:
        return self.places.get(OWN, OWN)

    def of(self, uri: str) -> Name:
        """The namespace and name of a dataset."""
        if uri.startswith(FOREIGN):
            return _from_foreign(uri)
        store, _, rest = uri.partition(":")
        place = self._place(store)
        if place is None:
            return Name(self.own, uri)
        namespace, prefix = place
        return Name(namespace, prefix + rest)

    def uri(self, given: Name) -> str:
        """The URI of a dataset: of ours if its store is, else in its own namespace."""
        if given.namespace == self.own:
            return given.name
        for store in (*self.places, "file"):
            place = self._place(store)
            if place is not None and _same(place[0], given.namespace) and given.name.startswith(place[1]):
                return f"{store}:{given.name.removeprefix(place[1])}"
        return foreign(given)

    def _place(self, store: str) -> Name | None:
        """A store's namespace, and what its names begin with there."""
        if store == OWN or store not in self.places:
            return Name("file", "") if store == "file" else None
        url = urlsplit(self.places[store])
        inside = url.path.strip("/")
        if store == "postgres":  # a name is database.schema.table; ours are queried in the schema public
            return Name(f"postgres://{url.netloc}", f"{inside}.public.")
        return Name(f"{url.scheme}://{url.netloc}", f"{inside}/" if inside else "")


def foreign(given: Name) -> str:
    """The URI of a dataset of somebody else's, or the name of its job as a transformation.

    The name begins after the first slash behind the namespace's host: other slashes of a namespace are
    written %2F.
    """
    scheme, slashes, rest = given.namespace.rpartition("://")
    host = _quoted(rest)
    if not slashes and host.endswith(":"):  # or a name that begins with a slash would make it a scheme
        host = f"{host[:-1]}%3A"
    return f"{FOREIGN}{_quoted(scheme)}{slashes}{host}/{given.name}"


def _from_foreign(uri: str) -> Name:
    text = uri.removeprefix(FOREIGN)
    after_host = text.find("/")
    if text[max(after_host - 1, 0) : after_host + 2] == "://":
        after_host = text.find("/", after_host + 2)
    return Name(unquote(text[:after_host]), text[after_host + 1 :])


def job_of(transformation: str, names: Names) -> Name:
    """The job a transformation is, by its name without the version."""
    if transformation.startswith(FOREIGN):
        return _from_foreign(transformation)
    return Name(names.own, transformation)


def is_foreign(transformation: str) -> bool:
    """Whether code is somebody else's, by its name or its id."""
    return transformation.startswith((FOREIGN, HEADWATER))


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("/", "%2F")


def _same(one: str, other: str) -> bool:
    return one == other.replace("postgresql://", "postgres://", 1)
