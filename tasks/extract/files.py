"""What a pipeline says of files in a folder: dropped (`file_watch.py`), or followed (`follow_watch.py`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lineage import naming
from tasks.batch import Layout
from tasks.extract.cuts import Limits
from tasks.extract.file_life import Quiet
from tasks.extract.folder import Wanted
from tasks.extract.formats.format import FileFormat, TextFormat
from tasks.extract.formats.kinds import ENDINGS, AnyFormat, by_ending
from tasks.extract.source import Source
from tasks.pattern import Pattern, file_glob, file_pattern

_OF_WHOLE: Final = frozenset(
    {"archive", "max_rows", "max_part_bytes", "max_file_bytes", "settle", "connections"}
)
"""What is said of files that are read as a whole, and means nothing for those that grow."""


def _is_pattern(said: str) -> str:
    file_pattern(said)
    return said


class FileOptions(Source):
    """What a pipeline says of its files. `folder` and `archive` are below the directory of the settings."""

    type: Literal["files"] = "files"
    connection: ClassVar[None] = None  # type: ignore[misc]  # a folder is none
    folder: str = Field(min_length=1)
    pattern: Annotated[str, AfterValidator(_is_pattern)] = Field(
        min_length=1,
        description="As Path.glob takes it; a part may have a name, as in {device}/{day:[0-9-]+}.csv",
    )
    follow: bool = Field(
        default=False, description="Read files as they grow, and archive none; CSV and NDJSON alone"
    )
    archive: str | None = Field(
        default=None,
        min_length=1,
        description="Where a file is moved once it is read, on the same file system: FOLDER-archive",
    )
    format: AnyFormat | None = Field(
        default=None, description="How its files are read, however they are called; unset: by their endings"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="A file's column → the table's, where they differ, e.g. {Sensor: device_id}",
    )
    max_bytes: int = Field(default=8 * 1024 * 1024, ge=1)  # of CSV or NDJSON in a batch
    max_rows: int = Field(default=100_000, ge=1)  # of Parquet in a batch
    max_part_bytes: int = Field(
        default=512 * 1024 * 1024, ge=1, description="Of Parquet, decoded, in a batch: more is rejected"
    )
    max_file_bytes: int = Field(
        default=64 * 1024**3, ge=1, description="Of a Parquet file, decoded: more is rejected as it is"
    )
    settle: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(seconds=1)
    unfinished: Annotated[
        timedelta,
        Field(
            ge=timedelta(0),
            description="As settle, for a file without its last line end or its Parquet footer",
        ),
    ] = timedelta(seconds=30)
    poll: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(milliseconds=500)
    connections: int = Field(default=1, ge=1, le=8)  # how many batches are written at a time

    @model_validator(mode="before")
    @classmethod
    def _delimiter_is_of_a_format(cls, said: Any) -> Any:
        if isinstance(said, Mapping) and "delimiter" in said:
            sign = said["delimiter"]
            what = f"`delimiter` is the format's: write format: {{type: csv, delimiter: {sign!r}}}"
            raise PydanticCustomError("contract", "{said}", {"said": what, "place": ("delimiter",)})
        return said

    @model_validator(mode="after")
    def _fits_how_it_is_read(self) -> Self:
        if self.follow and (idle := sorted(_OF_WHOLE & self.model_fields_set)):
            raise ValueError(f"{idle[0]} does nothing for files that are followed: leave it out")
        of_all = self.format or by_ending(self.pattern)
        if self.follow and of_all and not isinstance(of_all, TextFormat):
            raise ValueError("a Parquet file does not grow: follow CSV or NDJSON, or leave follow out")
        return self

    @property
    def dataset(self) -> str:
        """Its name: the pattern that finds the files, without names in it."""
        return naming.file(f"{self.folder}/{self.glob}")

    @property
    def glob(self) -> str:
        """The pattern that finds the files."""
        return file_glob(self.pattern)

    @property
    def wanted(self) -> Wanted:
        """Which files of the folder are taken."""
        return Wanted(self.glob, () if self.format else tuple(ENDINGS))

    def format_of(self, name: str) -> FileFormat | None:
        """How the file of that name is read; None: it is not."""
        return self.format or by_ending(name)

    @property
    def names(self) -> Sequence[str]:
        """What the pipeline calls the columns of its files; none: each file has a header."""
        return self.format.layout().names if self.format else ()

    def read_again(self, stored: Layout) -> Layout:
        """How a part that was read before is read today: by today's format and names of columns."""
        layout = self.format.read_again(stored) if self.format else stored
        return replace(layout, columns={**layout.columns, **self.columns})

    @property
    def location_pattern(self) -> Pattern | None:
        """What a file's path must fit, where parts of it have names."""
        return file_pattern(self.pattern)


class FileSource(FileOptions):
    """Files and where their folders are."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / self.folder

    @property
    def archived(self) -> Path:
        """Where a file goes once it is read; a file that is followed goes nowhere."""
        return self.root / (self.archive or f"{self.folder.rstrip('/')}-archive")

    @property
    def quiet(self) -> Quiet:
        return Quiet(settle=self.settle.total_seconds(), unfinished=self.unfinished.total_seconds())

    @property
    def limits(self) -> Limits:
        return Limits(
            max_bytes=self.max_bytes,
            max_rows=self.max_rows,
            max_part=self.max_part_bytes,
            max_file=self.max_file_bytes,
        )
