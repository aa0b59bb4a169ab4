"""Java libraries by Maven: what a pom of ours names, downloaded once."""

import re
from pathlib import Path

from infra.local.addresses import locked
from infra.local.debian import find_or_install
from infra.local.download import counted
from lineage.errors import SettingsError, UnavailableError


def version_in(pom: Path, name: str) -> str:
    """The version that a pom gives in `<NAME.version>`, e.g. `5.26.24`."""
    found = re.search(rf"<{name}\.version>(.+)</{name}\.version>", pom.read_text(encoding="utf-8"))
    if found is None:
        raise SettingsError(f"{pom} names no {name}.version.")
    return found.group(1)


def jars_of(pom: Path, name: str, title: str, downloads: Path) -> Path:
    """The directory of a pom's libraries under `downloads`; downloaded if it is not there."""
    jars = downloads / f"{name}-{version_in(pom, name)}"
    with locked(downloads / f"{name}.lock"):
        if not jars.exists():
            _download(pom, jars, f"{title} {version_in(pom, name)}")
    return jars


def _download(pom: Path, jars: Path, title: str) -> None:
    """Let Maven resolve a pom into `jars`; it appears there whole or not at all."""
    maven = find_or_install("mvn", "maven", "Maven")
    draft = jars.with_name(jars.name + ".draft")
    command: list[str | Path] = [
        *(maven, "--batch-mode", "--file", pom, "-Dstyle.color=never"),
        *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft}"),
    ]
    said = counted(command, title, each="Downloaded from")
    if said.code != 0:
        reason = next((line for line in said.lines if "ERROR" in line), "see its output")
        raise UnavailableError("Maven", reason, f"The libraries of {title} could not be downloaded.")
    draft.replace(jars)
