"""The file of the keys that rows are digested with: one to a line, 64 hexadecimal digits, the last is in use.

It belongs beside the anchors, outside Postgres, and on every host that commits or proves: copy it there, and
keep a copy. Whoever reads it can forge digests; whoever loses it can prove them no more.
"""

import os
import secrets
from pathlib import Path

from lineage.errors import SettingsError
from lineage.keys import NO_KEYS, Key, KeyRing, new_key


def read(path: Path) -> KeyRing:
    """The keys of a file, none if it is not there; raises SettingsError where it is no file of keys."""
    try:
        lines = path.read_text(encoding="ascii").split()
        keys = [Key(bytes.fromhex(line)) for line in lines]
    except FileNotFoundError:
        return NO_KEYS
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"HEADWATER_KEY_FILE ({path}) is no file of keys, 64 hexadecimal digits to a line: "
            f"{type(error).__name__}. Put back your copy of it."
        ) from None  # a ValueError shows what it could not read: a key
    if not keys:
        raise SettingsError(f"HEADWATER_KEY_FILE ({path}) is empty. Put back your copy of it, or remove it.")
    return KeyRing({key.id: key for key in keys}, keys[-1])


def create(path: Path) -> KeyRing:
    """A file with a new key, which its owner alone reads; the file of another process that was faster."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and linked into place: nobody reads half a key, and the first one stays.
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{new_key().secret.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    except OSError as error:
        raise SettingsError(f"HEADWATER_KEY_FILE cannot be written: {error}.") from error
    return read(path)


def readable_by_others(path: Path) -> bool:
    """Whether anybody but its owner may read the file."""
    return path.exists() and bool(path.stat().st_mode & 0o077)
