"""What was archived lately is looked at in a thread, while other files are archived."""

from pathlib import Path

import pytest

from tasks.extract import archived
from tasks.extract.archived import ArchiveWatch
from tasks.extract.file_life import Mark
from tasks.extract.files import FileSource
from tasks.extract.folder import mark_at


def in_archive(source: FileSource, name: str) -> Mark:
    source.archived.mkdir(parents=True, exist_ok=True)
    (source.archived / name).write_text("1\n")
    mark = mark_at(source.archived, name)
    assert mark is not None
    return mark


async def test_a_file_archived_during_a_look_neither_ends_it_nor_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FileSource(folder="in", archive="done", pattern="*.csv", root=tmp_path)
    source.inbox.mkdir()
    monkeypatch.setattr(archived, "MOST", 2)
    watch = ArchiveWatch(source)
    for name in ("a.csv", "b.csv"):
        watch.add(name, name, "", in_archive(source, name), 0.0)
    c = in_archive(source, "c.csv")

    def while_archived(folder: Path, name: str) -> Mark | None:
        watch.add("c.csv", "c.csv", "", c, 0.0)  # and a.csv is one too many
        return mark_at(folder, name)

    monkeypatch.setattr(archived, "mark_at", while_archived)
    await watch.look(10.0)
    assert list(watch._files) == ["b.csv", "c.csv"]
