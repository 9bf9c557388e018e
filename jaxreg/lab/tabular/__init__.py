"""Tables of data: files read into columns, and columns encoded as inputs and target."""

from jaxreg.lab.tabular.columns import Columns
from jaxreg.lab.tabular.encoding import Encoding, Target, Task, learn, target
from jaxreg.lab.tabular.files import parsed, read

__all__ = ["Columns", "Encoding", "Target", "Task", "learn", "parsed", "read", "target"]
