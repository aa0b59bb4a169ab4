"""Keys of digests, kept outside Postgres: who can change every row and digest there cannot make a new one."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from .errors import SettingsError

KEY_BYTES = 32
_NAME = b"headwater digest key\x00"


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of KEY_BYTES; its name tells nothing of it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, this one has {len(self.secret)}")

    @property
    def id(self) -> str:
        """Its name in the ledger: 16 hexadecimal digits."""
        return hashlib.sha256(_NAME + self.secret).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that a host has by their names, and the one that it digests with; None: it has none."""

    keys: Mapping[str, Key]
    current: Key | None = None

    @property
    def name(self) -> str | None:
        """The name of the one in use."""
        return self.current.id if self.current else None

    def holds(self, name: str | None) -> bool:
        """Whether what was made with a key of that name can be made again; None: without one."""
        return name is None or name in self.keys

    def named(self, name: str | None) -> Key | None:
        """The key of that name; raises SettingsError where this host lacks it."""
        if name is None:
            return None
        if name not in self.keys:
            raise SettingsError(LACKS_KEY.format(name))
        return self.keys[name]


NO_KEYS: Final = KeyRing(MappingProxyType({}))
LACKS_KEY: Final = (
    "This host lacks the key {} that the record was made with. "
    "Copy HEADWATER_KEY_FILE from a host that has it."
)


def new_key() -> Key:
    """A key of the system's randomness."""
    return Key(secrets.token_bytes(KEY_BYTES))
