"""Counts the hours whose aggregate is not that of the rows, once everything is refreshed: plain SQL."""

from tests.chaos.rig import Rig

DIFFERENT = """
WITH computed AS (
    SELECT device_id, date_trunc('hour', timestamp, 'UTC') AS hour, count(*) AS readings,
           min(temperature) AS low, max(temperature) AS high
    FROM store.sensor_readings GROUP BY 1, 2
), kept AS (
    SELECT device_id, hour, readings, temperature_min, temperature_max FROM store.sensor_readings_hourly
)
SELECT (SELECT count(*) FROM (TABLE computed EXCEPT TABLE kept) missing)
     + (SELECT count(*) FROM (TABLE kept EXCEPT TABLE computed) wrong)
"""


def different(rig: Rig) -> int:
    """How many, after a last refresh."""
    status, _ = rig.entry("refresh", log="refresh")
    if status:
        raise RuntimeError(f"The last refresh failed: see {rig.root}/log/refresh.log.")
    return int(rig.sql(DIFFERENT))
