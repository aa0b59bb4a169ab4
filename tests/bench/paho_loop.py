"""The reference of the stream: a bare paho loop that only acknowledges (MQTT 3.1.1, manual_ack).

`python -m tests.bench.paho_loop URL CLIENT_ID MESSAGES` prints seconds and CPU seconds as JSON.
"""

import json
import sys
import time
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt


def main(url: str, client_id: str, wanted: int) -> None:
    address, received = urlsplit(url), 0
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True)

    def on_message(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal received
        received += 1
        client.ack(message.mid, message.qos)

    client.on_message = on_message
    began, cpu = time.perf_counter(), time.process_time()
    client.connect(str(address.hostname), address.port or 1883)
    while received < wanted:
        client.loop(1.0)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    client.disconnect()
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
