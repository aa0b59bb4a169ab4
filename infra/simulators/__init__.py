"""Stand-ins for devices: sensors and an OT-2, seeded."""
