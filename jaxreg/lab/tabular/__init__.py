"""Tables: read files into columns, and encode columns as inputs and target."""

from jaxreg.lab.tabular.columns import Columns
from jaxreg.lab.tabular.encoding import Encoding, Target, TaskName, learn, target
from jaxreg.lab.tabular.files import parsed, read
from jaxreg.lab.tabular.frames import columns_of
from jaxreg.lab.tabular.prepared import Prepared, TableError, prepare, prepare_columns

__all__ = [
    "Columns",
    "Encoding",
    "Prepared",
    "TableError",
    "Target",
    "TaskName",
    "columns_of",
    "learn",
    "parsed",
    "prepare",
    "prepare_columns",
    "read",
    "target",
]
