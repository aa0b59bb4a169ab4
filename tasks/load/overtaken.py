"""What tells two readers of one source apart: who commits second has been overtaken."""

from lineage.errors import HeadwaterError


class OvertakenError(HeadwaterError):
    """Another reader committed what this batch holds: drop it, and read on from where that one stopped."""
