"""The ways in: what the numbers of each are, and by what name its readings are known in the graph."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Way:
    """One way in. Its readings are numbered from `first` on, and its devices' names begin with `device`."""

    name: str
    pipeline: str
    listeners: int
    dataset: str
    first: int
    device: str


MQTT = Way("mqtt", "sensors", 2, "mqtt:sensors/+/readings", 0, "d")
KAFKA = Way("kafka", "sensors-kafka", 2, "kafka:sensor-readings", 1_000_000_000, "k")
FILES = Way("files", "sensors-files", 1, "file:sensors/**/*", 2_000_000_000, "f")
WAYS = {way.name: way for way in (MQTT, KAFKA, FILES)}
ROBOT = "robot"
"""The fourth: runs of a robot, which are counted by themselves (`runs.py`)."""
