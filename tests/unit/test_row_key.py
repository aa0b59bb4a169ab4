"""Keys as people write them."""

from datetime import UTC, datetime

import pytest

from lineage.errors import RejectedError
from tasks.contract import Contract
from tasks.look.row_key import read_key
from tests.fixtures.commit import CONTRACT

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        '{"timestamp": "2026-11-21T08:00:00Z", "device_id": "a"}',
        "device_id=a,timestamp=2026-11-21T08:00:00Z",
        "timestamp=2026-11-21 09:00:00+01:00,device_id=a",
        "a,2026-11-21T08:00",
    ],
)
def test_every_way_to_write_a_key_is_the_same_key(text: str) -> None:
    assert dict(read_key(CONTRACT, text)) == {"device_id": "a", "timestamp": EIGHT}


def test_a_value_may_hold_commas_and_equals_signs() -> None:
    assert read_key(CONTRACT, "device_id=a,b=c,timestamp=2026-11-21T08:00")["device_id"] == "a,b=c"
    assert read_key(CONTRACT, "a,b,2026-11-21T08:00")["device_id"] == "a,b"


@pytest.mark.parametrize("text", ["", "a", "device_id=a", "a,noon", "{", '{"device_id": "a"}', "colour=a"])
def test_what_is_no_key_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RejectedError, match="key"):
        read_key(CONTRACT, text)


def test_a_decimal_in_a_key_is_its_digits() -> None:
    columns = [{"name": "price", "type": "decimal", "scale": 30}, {"name": "at", "type": "timestamp"}]
    prices = Contract.model_validate(
        {"table": "prices", "key": ["price", "at"], "time": "at", "columns": columns}
    )
    digits = "12345678.000000000000000000000000000001"
    for text in (
        f"{digits},2026-11-21T08:00",
        f'{{"price": {digits}, "at": "2026-11-21T08:00"}}',
        f'{{"price": "{digits}", "at": "2026-11-21T08:00"}}',
    ):
        assert str(read_key(prices, text)["price"]) == digits
    for text in ("much", "NaN"):
        with pytest.raises(RejectedError, match=f"'{text}' is no decimal for price"):
            read_key(prices, f"{text},2026-11-21T08:00")


def test_a_truth_value_in_a_key_is_one() -> None:
    columns = [{"name": "open", "type": "boolean"}, {"name": "at", "type": "timestamp"}]
    doors = Contract.model_validate(
        {"table": "doors", "key": ["open", "at"], "time": "at", "columns": columns}
    )
    for text in ("true,2026-11-21T08:00", '{"open": true, "at": "2026-11-21T08:00"}'):
        assert read_key(doors, text)["open"] is True
    with pytest.raises(RejectedError, match="'yes' is no boolean for open"):
        read_key(doors, "yes,2026-11-21T08:00")
