"""Every kind of source by what a pipeline may say of it: one file in this folder and one line here."""

from typing import Annotated

from pydantic import Field

from tasks.extract.files import FileOptions
from tasks.extract.kafka import KafkaOptions
from tasks.extract.mqtt import MqttOptions
from tasks.extract.opentrons import RobotOptions

SourceOptions = Annotated[
    MqttOptions | KafkaOptions | FileOptions | RobotOptions, Field(discriminator="type")
]
