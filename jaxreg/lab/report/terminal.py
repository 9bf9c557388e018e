"""Tables of stored results in the terminal."""

from rich.console import Console
from rich.table import Table

from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.tables import contents


def print_source(source: Source) -> None:
    """Print the tables of a case study or of a sweep, 180 columns wide if the output is not a terminal.

    Args:
        source: `StudyResults`, or a dataset of `open_sweep`.
    """
    title, tables, note = contents(source)
    console = Console()
    if not console.is_terminal:
        console.width = 180
    console.print(title, style="bold", markup=False, highlight=False)
    for table in tables:
        printed = Table(
            title="".join(map(str, table.caption)),
            title_justify="left",
            box=None,
            header_style="bold",
            pad_edge=False,
        )
        for number, column in enumerate(table.columns):
            printed.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
        for row in table.rows:
            printed.add_row(*("".join(map(str, cell)) for cell in row))
        console.print(printed, "", markup=False)
    console.print("".join(map(str, note)), markup=False, highlight=False)
