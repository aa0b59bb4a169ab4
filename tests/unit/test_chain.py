"""The chain of the log, against hashes computed elsewhere: `printf … | sha256sum`."""

from lineage.log import FIRST_HEAD, chain


def test_each_head_covers_the_one_before() -> None:
    first = chain(FIRST_HEAD, b'{"number":1}')
    assert first.hex() == "b4ff2b0a8d6425120a1d45178ba4a98f99fb4642390137300132678d6c10600a"
    second = chain(first, b'{"number":2}')
    assert second.hex() == "4630b023e99ade35561ec65009c9b00ef238a833a0b75d6eb290ee98b4d89e5a"
    assert chain(chain(FIRST_HEAD, b'{"number":2}'), b'{"number":1}') != second
