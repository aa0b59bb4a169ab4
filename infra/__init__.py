"""The outside world: settings, connections, migrations, metrics, local services."""
