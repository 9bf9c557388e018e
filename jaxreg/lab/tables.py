"""The tables of a case study: what each recipe reached, beside what was published."""

import math
from collections.abc import Sequence

import xarray as xr
from rich.console import Console, Group
from rich.table import Table

from jaxreg.lab import stats
from jaxreg.lab.record import NONE, StudyResults

Row = Sequence[str]


def published_rows(results: StudyResults) -> list[Row]:
    """One row a recipe, on the published data: published accuracies, ours, cross-entropy, norm of the first kernel."""
    last = results.published.isel(epoch=-1)
    norm = next(name for name in map(str, last.data_vars) if name.startswith("norm/"))
    rows: list[Row] = []
    for label in map(str, last["recipe"].values):
        lanes = last.sel(recipe=label)
        train, test = results.record.published.get(label, (math.nan, math.nan))
        rows.append(
            (
                label,
                _number(train, 3),
                _spread(lanes["train_accuracy"], 3),
                _number(test, 3),
                _spread(lanes["test_accuracy"], 3),
                _spread(lanes["test_loss"], 3),
                _spread(lanes[norm], 2),
            )
        )
    return rows


def fresh_rows(results: StudyResults) -> list[Row]:
    """One row a recipe, on fresh draws: accuracy and cross-entropy, and what each gains over the baseline."""
    last = stats.mask_diverged(results.fresh).isel(epoch=-1)
    rows: list[Row] = []
    for label in map(str, last["recipe"].values):
        lanes, baseline = last.sel(recipe=label), last.sel(recipe=NONE)
        row = [label, _spread(lanes["test_accuracy"], 3), "", "", _spread(lanes["test_loss"], 3), ""]
        if label != NONE:
            points, nats = (
                stats.paired(
                    lanes[name].drop_vars(("recipe", "method", "strength")),
                    baseline[name].drop_vars(("recipe", "method", "strength")),
                    lower_is_better=name == "test_loss",
                    drop_diverged=True,
                )
                for name in ("test_accuracy", "test_loss")
            )
            row[2] = f"{100 * points.mean:+.2f} [{100 * points.low:+.2f}, {100 * points.high:+.2f}]"
            row[3] = f"{100 * points.wins / points.n:.0f} %"
            row[5] = f"{nats.mean:+.3f} [{nats.low:+.3f}, {nats.high:+.3f}]"
        rows.append(row)
    return rows


def tables(results: StudyResults) -> Group:
    """Both tables, for a rich console, and the lanes that diverged, by name."""
    seeds, draws = results.published.sizes["seed"], results.fresh.sizes["draw"]
    epochs = int(results.published["epoch"][-1])
    first = _table(
        f"{results.record.title}: the published data, {seeds} seeds, {epochs} epochs (mean ± sd over seeds)",
        ["recipe", "train published", "train", "test published", "test", "test cross-entropy", "‖hidden kernel‖"],
        published_rows(results),
    )
    second = _table(
        f"{draws} fresh draws of the data (mean ± sd over draws; gains over none, paired, with 95 % interval)",
        ["recipe", "test", "gain in points", "better in", "test cross-entropy", "change in cross-entropy"],
        fresh_rows(results),
    )
    lost = [*stats.diverged(results.published), *stats.diverged(results.fresh)]
    note = f"{len(lost)} lanes diverged and are left out: {'; '.join(lost)}" if lost else "No lane diverged."
    return Group(first, "", second, note)


def print_tables(results: StudyResults, console: Console | None = None) -> None:
    """Print both tables; wide enough for a file where there is no terminal."""
    console = console or Console()
    if not console.is_terminal:
        console.width = 160
    console.print(tables(results))


def _table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _spread(lanes: xr.DataArray, digits: int) -> str:
    mean, sd = float(lanes.mean()), float(lanes.std(ddof=1)) if lanes.size > 1 else math.nan
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
