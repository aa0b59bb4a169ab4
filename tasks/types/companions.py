"""The columns that stand beside a cell. No contract's column has a dot in its name."""


def fault(name: str) -> str:
    """The column that says why `name` could not be read."""
    return f"{name}.fault"


def is_fault(name: str) -> bool:
    """Whether a column is one of the faults."""
    return name.endswith(".fault")


def epoch(name: str) -> str:
    """The column that holds a timestamp given as a number."""
    return f"{name}.epoch"


def as_read(name: str) -> str:
    """The column that holds a converted number as it was read."""
    return f"{name}.read"
