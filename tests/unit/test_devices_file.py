"""The device register's file: every way it can be wrong is one sentence."""

from pathlib import Path

import pytest

from lineage.errors import RejectedError
from tasks.extract.devices import COLUMNS, read_devices_file


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_come_in_order_as_text(tmp_path: Path) -> None:
    devices = read_devices_file(written(tmp_path, "d.csv", 'site,device_id\n"Lab, 2",01\n,02\n'))
    assert tuple(devices.columns) == COLUMNS
    assert devices.rows() == [("01", None, None, "Lab, 2"), ("02", None, None, None)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("d.csv", "name\nx\n", "no column device_id"),
        ("d.csv", "device_id,colour\na,red\n", "unknown column 'colour'"),
        ("d.csv", "device_id,name\na,x\n,y\n", "missing in record 2"),
        ("d.csv", "device_id\na\nb\na\nb\n", "more than once: a, b"),
        ("d.csv", "", "cannot be read"),
        ("d.csv", b"device_id\n\xff\xfe\n", "cannot be read"),
        ("d.csv", "device_id\na\x00b\n", "NUL"),
        ("d.csv", f"device_id\n{'é' * 257}\n", "over 256"),
        ("d.jsonl", '{"device_id": 7}\n', "device_id must be text"),
        ("d.jsonl", '{"device_id": "a"}\n{oops\n', "cannot be read"),
        ("d.jsonl", '{"device_id": "a"}\n{"name": "b"}\n', "missing in record 2"),
        ("d.xlsx", "", "must end in .csv"),
        ("absent/d.csv", None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str | bytes | None, said: str) -> None:
    path = tmp_path / name if text is None else written(tmp_path, name, text)
    with pytest.raises(RejectedError, match=said):
        read_devices_file(path)
