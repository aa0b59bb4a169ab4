"""The catalog: every pipeline, table, derived table and trigger of the pipeline folders, read once.

    pipelines/FOLDER/NAME.yaml           a pipeline (`pipeline.yaml`: its name is the folder's)
                    /tables/NAME.yaml    the contract of a table that pipelines write
                    /derived/NAME.yaml   a table made of stored tables, with its `NAME.sql`
                    /trigger.yaml        what a message starts, as the folder is called; or triggers/NAME.yaml

Ours are in `pipelines/`, those of `HEADWATER_PIPELINES` join them. What is broken is left out, and told.
"""

from flows.catalog.catalog import Broken, Catalog
from flows.catalog.definition import Retry
from flows.catalog.folders import SHIPPED, read, read_directories
from flows.catalog.pipeline import Pipeline

__all__ = ["SHIPPED", "Broken", "Catalog", "Pipeline", "Retry", "read", "read_directories"]
