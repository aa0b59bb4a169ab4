"""MQTT: a bulk receive path of our own for the stream, and paho for what is rare.

frames ─▶ connection ─▶ session ─▶ tasks/extract/mqtt.py        (the stream in, MQTT 3.1.1)
client (paho): publishing and notices
"""
