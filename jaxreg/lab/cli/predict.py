"""The command `jaxreg predict`. It does not import JAX."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.search import fitted_model
from jaxreg.lab.tabular.arguments import called_by
from jaxreg.lab.tabular.columns import find
from jaxreg.lab.tabular.encoding import listed
from jaxreg.lab.tabular.files import is_table, read


def predict(model: Path, file: Path, out: Path | None, names: Sequence[str] = ()) -> None:
    """Predict the target of each row of a table. Print the predictions as CSV, or write them to a CSV file.

    The predictions are in the order of the rows of the table. Id columns, which the search ignored, are copied in front
    of the predictions.

    Args:
        model: Model file written by a search, or its folder.
        file: Table with the columns that the model needs, in any order.
        out: CSV file for the predictions; None prints to the terminal.
        names: Column names, for a table without a header row.
    """
    if is_table(model) and not model.is_dir():
        swapped = file.is_dir() or not is_table(file)
        folder = file if swapped else model.with_name(f"{model.name.partition('.')[0]}-search")
        table = model if swapped else file
        raise ValueError(
            f"{model} is a table; expected the folder of a search, and then the table, as in: "
            f"{shlex.join(['jaxreg', 'predict', str(folder), str(table)])}"
        )
    if model.is_dir():
        model = model / "model.safetensors"
    loaded = fitted_model.load(model)
    for given in (model, file):
        if out is not None and out.exists() and given.exists() and out.samefile(given):
            raise ValueError(f"--out {out} would overwrite {given}, which this command reads. Name another file")
    with called_by("jaxreg predict"):
        columns = read(file, dict.fromkeys(loaded.ids, True) | loaded.encoding.kinds, names=names)
    x, notes = loaded.encoding(columns)
    kept = {find(columns, name) for name in [*loaded.ids, *loaded.encoding.kinds]}
    if ignored := [name for name in columns if name not in kept]:
        notes.append(f"{listed(ignored)}: ignored, and not copied to the predictions. The rows stay in order")
    for note in [*columns.notes, *notes]:
        print(f"jaxreg: {note}", file=sys.stderr)
    text = loaded.table(x, {name: columns[place] for name in loaded.ids if (place := find(columns, name)) is not None})
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)
