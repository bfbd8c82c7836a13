"""Run a neural network once, then ask everything in SQL.

    import neuronmap_sql as nm

    wh = nm.create("my.warehouse")
    wh.ingest("recipe.toml")
    wh.sql("SELECT * FROM neuron_stats ORDER BY kurtosis DESC LIMIT 5").pl()

Importing this package, and every question asked in SQL, leaves torch alone.
"""

from importlib.metadata import version

from neuronmap_sql.api import Warehouse, create, open
from neuronmap_sql.errors import (
    DataError,
    ModelError,
    NeuronMapError,
    QueryError,
    RecipeError,
    StoreError,
    UnknownNameError,
    UsageError,
    WorkError,
)
from neuronmap_sql.warehouse.connect import configure_connection, connect
from neuronmap_sql.warehouse.result import Result

__version__ = version("neuronmap-sql")

__all__ = [
    "DataError",
    "ModelError",
    "NeuronMapError",
    "QueryError",
    "RecipeError",
    "Result",
    "StoreError",
    "UnknownNameError",
    "UsageError",
    "Warehouse",
    "WorkError",
    "__version__",
    "configure_connection",
    "connect",
    "create",
    "open",
]
