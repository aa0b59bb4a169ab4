"""Every error Headwater raises on purpose.

    HeadwaterError
    ├── UnavailableError          a service is away or too slow: try again, then report
    ├── RejectedError             what was asked can never work as it stands: do not try again
    │   ├── SettingsError         settings are missing or contradict each other
    │   ├── ContractError         a contract or a pipeline's definition is wrong
    │   ├── NotFoundError         something was asked for by a name that is not there
    │   ├── TransformError        a transform failed on what it was given: its code is wrong
    │   ├── MalformedFrameError   what came is not MQTT 3.1.1 (infra/mqtt/frames.py)
    │   └── QueryError            a database refused a statement
    │       ├── DataError         … for a value or a row in it, not for the statement
    │       └── TooLargeError     … of a table that is to be kept in memory (tasks/load/reference.py)
    ├── OvertakenError            another reader committed the same (tasks/load/overtaken.py)
    └── VerificationError         what is stored is not what was recorded
        └── DifferencesError      … as a proof found (flows/acts/proof.py)

A bad *record* is never an exception: it is a row of the rejected half of its batch.
Drivers' errors are translated where the driver is imported (`pyproject.toml` lists the places), so that
callers know two kinds: try again, or do not.
"""

from collections.abc import Sequence


class HeadwaterError(Exception):
    """One sentence: what happened, and what to do."""


class UnavailableError(HeadwaterError):
    """A service is away or too slow; the same call may work later.

    `after`: seconds that it asked us to wait, None when it said nothing.
    """

    def __init__(self, service: str, reason: str, hint: str = "", *, after: float | None = None) -> None:
        reason = " ".join(reason.split()).rstrip(".")  # a driver's may have lines
        super().__init__(f"{service} is unavailable: {reason}." + (f" {hint}" if hint else ""))
        self.service = service
        self.reason = reason
        self.hint = hint
        self.after = after


class RejectedError(HeadwaterError):
    """The same call will fail the same way; something has to change first."""


class SettingsError(RejectedError):
    """Settings are missing or contradict each other; the sentence names them."""


class ContractError(RejectedError):
    """A contract or a pipeline's definition is wrong."""


class NotFoundError(RejectedError):
    """Something was asked for by a name that is not there."""


class TransformError(RejectedError):
    """A transform failed on what it was given, which no rule foresees: its code has to change."""


class QueryError(RejectedError):
    """A database refused a statement."""


class DataError(QueryError):
    """A database refused a value or a row: the same statement with other data would pass."""


class VerificationError(HeadwaterError):
    """What is stored is not what was recorded.

    `differences` holds one sentence per difference.
    """

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(f"verification found {len(differences)} difference(s): " + "; ".join(differences))
        self.differences = tuple(differences)
