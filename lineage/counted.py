"""Numbers of things in sentences."""


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`, `2 batches`."""
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending}"
