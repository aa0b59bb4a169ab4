"""One rule per system for naming a dataset.

A name never holds a host or a port: those change, the dataset does not. Where a store lives is a
setting; OpenLineage's namespaces are made on export.
"""

OURS = frozenset({"mqtt", "kafka", "file", "opentrons", "postgres", "library", "deployment"})
"""The schemes of our own names, which mean what is said here: another source's name has another one."""
MQTT = "mqtt:"
"""How the name of every stream of MQTT messages begins."""
OPENTRONS = "opentrons:"
"""How the name of every robot's runs begins."""


def is_ours(dataset: str) -> bool:
    """Whether a dataset's name is of a scheme of ours."""
    return dataset.partition(":")[0].partition("+")[0] in OURS


def mqtt(topic_filter: str, connection: str | None = None) -> str:
    """A stream of messages, by its topic filter; of another broker than the usual one by connection too."""
    return f"mqtt+{connection}:{topic_filter}" if connection else f"{MQTT}{topic_filter}"


def kafka(topic: str, connection: str | None = None) -> str:
    """A Kafka topic, by its name; of other brokers than the usual ones by connection too."""
    return f"kafka+{connection}:{topic}" if connection else f"kafka:{topic}"


def opentrons(robot: str) -> str:
    """The runs of one robot, by the robot's name."""
    return f"{OPENTRONS}{robot}/runs"


def postgres(table: str) -> str:
    """A stored table, by the name people query it under."""
    return f"postgres:{table}"


def library(name: str) -> str:
    """Data that a library of ours brings along."""
    return f"library:{name}"


def file(pattern: str) -> str:
    """Files, by the pattern that finds them."""
    return f"file:{pattern}"
