"""How messages are packed, and which rejected records may pass when they come again."""

import polars as pl
import pyarrow as pa
import pytest

from lineage.rejected import MAY_PASS
from tasks.batch import MESSAGE_SCHEMA
from tasks.load.raw import pack, unpack


def test_packed_messages_are_types_that_every_arrow_library_has() -> None:
    """No views, which readers of before 2024 do not know."""
    messages = pl.DataFrame([("a/é", b"\0{"), (None, None)], schema=MESSAGE_SCHEMA, orient="row")
    with pa.ipc.open_file(pack(messages)) as file:
        assert file.schema.types == [pa.large_string(), pa.large_binary()]
        assert file.read_all().to_pylist()[0] == {"location": "a/é", "payload": b"\0{"}
    assert unpack(pack(messages)).equals(messages)


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        (["timestamp.furthest"], True),
        (["at.furthest", "temperature.range"], True),  # whatever a contract calls its time
        (["load.refused"], True),
        (["transform.failed"], True),
        (["timestamp.oldest"], False),
        ([], False),
    ],
)
def test_a_record_may_pass_again_for_its_time_or_where_postgres_or_the_transform_refused_it(
    rules: list[str], passes: bool
) -> None:
    frame = pl.DataFrame({"rules": [rules]}, schema={"rules": pl.List(pl.String)})
    assert frame.select(MAY_PASS).item() is passes
