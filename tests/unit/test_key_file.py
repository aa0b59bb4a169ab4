"""The file of keys: made once, its owner's alone, never shown."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import key_file
from lineage.errors import SettingsError
from lineage.keys import NO_KEYS, Key, new_key


def test_a_new_one_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "below" / "digest.key"
    made = key_file.create(path)
    assert made.current is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_file.read(path) == made
    assert not key_file.readable_by_others(path)
    path.chmod(0o640)
    assert key_file.readable_by_others(path)


def test_of_two_that_make_one_the_first_stands(tmp_path: Path) -> None:
    path = tmp_path / "digest.key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: key_file.create(path), range(8)))
    assert len({ring.name for ring in made}) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["digest.key"]


def test_several_keys_and_the_last_is_in_use(tmp_path: Path) -> None:
    path, keys = tmp_path / "digest.key", [new_key(), new_key()]
    path.write_text("".join(f"{key.secret.hex()}\n" for key in keys))
    ring = key_file.read(path)
    assert (ring.current, set(ring.keys)) == (keys[1], {key.id for key in keys})


def test_none_is_none(tmp_path: Path) -> None:
    assert key_file.read(tmp_path / "digest.key") == NO_KEYS
    assert not key_file.readable_by_others(tmp_path / "digest.key")


@pytest.mark.parametrize("text", ["", "abc\n", "zz" * 32, "00" * 31, "é"])
def test_what_is_no_file_of_keys_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "digest.key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="HEADWATER_KEY_FILE") as raised:
        key_file.read(path)
    assert not text.strip() or text.strip() not in str(raised.value)


def test_a_key_does_not_show_its_secret() -> None:
    key = Key(b"s" * 32)
    assert "s" * 8 not in repr(key)
    assert key.id == Key(b"s" * 32).id != new_key().id
