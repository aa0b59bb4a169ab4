"""Which worker runs which test, with pytest-xdist."""

from typing import Final

from xdist.scheduler import LoadScopeScheduling

SLOW_TO_START: Final = {
    "test_kafka.py": "kafka",
    "test_kafka_assignment.py": "kafka",
    "test_kafka_latest.py": "kafka",
    "test_stream_poison.py": "kafka",
    "test_assets.py": "prefect",
    "test_doctor.py": "prefect",
    "test_experiments_flow.py": "prefect",
    "test_resume.py": "prefect",
    "test_run_console.py": "prefect",
    "test_warm.py": "prefect",
    "test_deploy.py": "another prefect",
    "test_private.py": "another prefect",
    "test_shared_server.py": "another prefect",
    "test_engine_alone.py": "another prefect",
    "test_serve.py": "another prefect",
}
"""File → the server that its tests share; to start one costs a worker 5 to 20 s of CPU."""


class ByServer(LoadScopeScheduling):
    """Every test goes to whoever is free, but the tests of a slow server all go to one worker.

    xdist's own `loadgroup` renames the tests of a group, which pytest 9.2 ignores.
    """

    def _split_scope(self, nodeid: str) -> str:
        """The name of what is given to one worker as a whole."""
        if "[neo4j" in nodeid or "::test_neo4j" in nodeid:
            return "neo4j"
        return SLOW_TO_START.get(nodeid.partition("::")[0].rpartition("/")[2], nodeid)
