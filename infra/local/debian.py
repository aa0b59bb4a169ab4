"""What Debian can install for us: as root by its package manager, else unpacked into our directory."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lineage.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Program:
    """A program and what its environment must hold."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find_mosquitto(downloads: Path) -> Program:
    """Find Mosquitto, or install it; raises SettingsError with what to install when neither works."""
    found = shutil.which("mosquitto", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin:/usr/local/bin")
    if found:
        return Program(Path(found))
    raise SettingsError("Mosquitto is not installed: install the package `mosquitto`.")
