"""What Prefect's client raises, as our errors: every call to its server goes through this door."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import ObjectNotFound

from infra import http
from lineage.errors import NotFoundError, RejectedError


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors for a server that is away, refuses us, is not Prefect's, or knows no such flow run."""
    try:
        with http.translated("Prefect"):
            yield
    except ObjectNotFound as error:
        sentence = "Prefect's server no longer knows this flow run, it was deleted: start a new one."
        raise NotFoundError(sentence) from error
    except ValueError as error:  # what came is not JSON, or not what Prefect's API answers
        sentence = "What answers is not Prefect's API: correct HEADWATER_PREFECT_API_URL, which ends in /api."
        raise RejectedError(sentence) from error
