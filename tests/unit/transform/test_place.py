"""Places are looked up once per cell, remembered within bounds, and right."""

from collections.abc import Sequence

import polars as pl

from tasks.transform.place import CELL, PLACE_SCHEMA, Place, PlaceFinder, Point, cell


class Counting:
    """Answers with the point itself and remembers what it was asked."""

    def __init__(self) -> None:
        self.loads = 0
        self.asked: list[Point] = []

    def load(self) -> "Counting":
        self.loads += 1
        return self

    def __call__(self, points: Sequence[Point]) -> list[Place]:
        self.asked += points
        return [Place(f"{latitude},{longitude}", None, "XX", None) for latitude, longitude in points]


def cells(*pairs: tuple[int | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(pairs, dict.fromkeys(CELL, pl.Int32), orient="row")


def test_a_cell_is_a_hundredth_of_a_degree() -> None:
    degrees = pl.DataFrame({"x": [48.137, 48.1449, -0.004, -33.868, 180.0, None]})
    assert degrees.select(cell(pl.col("x")))["x"].to_list() == [4814, 4814, 0, -3387, 18000, None]


def test_nothing_is_loaded_before_the_first_coordinate() -> None:
    look = Counting()
    finder = PlaceFinder(look.load)
    found = finder.find(cells((None, None)))
    assert (look.loads, found.height, found.schema) == (0, 0, PLACE_SCHEMA)
    finder.warm()
    finder.warm()
    assert look.loads == 1


def test_a_cell_is_asked_once() -> None:
    look = Counting()
    finder = PlaceFinder(look.load)
    first = finder.find(cells((4814, 1158), (0, 0)))
    assert first["city"].to_list() == ["48.14,11.58", "0.0,0.0"]
    again = finder.find(cells((0, 0), (1, 1), (4814, 1158)))
    assert again["city"].to_list() == ["0.0,0.0", "0.01,0.01", "48.14,11.58"]
    assert look.asked == [(48.14, 11.58), (0.0, 0.0), (0.01, 0.01)]


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    look = Counting()
    finder = PlaceFinder(look.load, most=2)
    found = finder.find(cells((1, 1), (2, 2), (3, 3)))  # a batch of more cells than are kept
    assert found.height == 3
    finder.find(cells((2, 2), (3, 3)))
    assert len(look.asked) == 3
    finder.find(cells((1, 1)))
    assert len(look.asked) == 4


def test_what_is_nowhere_on_earth_is_not_asked() -> None:
    look = Counting()
    found = PlaceFinder(look.load).find(cells((9001, 0), (0, -18001), (None, 1), (9000, 18000)))
    assert found.select(CELL).rows() == [(9000, 18000)]
    far = pl.DataFrame({"x": [1e300, float("nan"), float("-inf")]})
    assert far.select(cell(pl.col("x")))["x"].null_count() == 3


def test_the_libraries_know_towns_and_time_zones() -> None:
    found = PlaceFinder().find(cells((4814, 1158), (-3387, 15121), (0, -3000)))
    assert found.rows()[:2] == [
        (4814, 1158, "Munich", "Bavaria", "DE", "Europe/Berlin"),
        (-3387, 15121, "Sydney", "New South Wales", "AU", "Australia/Sydney"),
    ]
    assert str(found["time_zone"][2]).startswith("Etc/")  # at sea
