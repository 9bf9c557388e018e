"""The command `jaxreg predict`, without JAX."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.search import fitted_model
from jaxreg.lab.tabular.files import read


def predict(model: Path, file: Path, out: Path | None, names: Sequence[str] = ()) -> None:
    """Predict the target for each row of a table: as CSV, printed or written.

    Args:
        model: What a search wrote.
        file: The table, with the model's columns by name, in any order.
        out: The file to write; printed if None.
        names: Names of the columns, for a table without a heading.
    """
    if model.is_dir():
        model = model / "model.safetensors"
    loaded = fitted_model.load(model)
    for given in (model, file):
        if out is not None and out.exists() and given.exists() and out.samefile(given):
            raise ValueError(f"--out {out} is {given}, which would be lost; name another file")
    columns = read(file, loaded.encoding.kinds, names=names)
    x, notes = loaded.encoding(columns)
    for note in [*columns.notes, *notes]:
        print(f"jaxreg: {note}", file=sys.stderr)
    text = loaded.table(x)
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)
