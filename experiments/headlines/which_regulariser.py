"""Which regulariser? Eight methods with all their strengths on 25 tables, small and large, by rank, on many draws.

Claims, stated before the run: (1) a regulariser helps, and the more so the fewer the rows (any textbook); (2) no single
regulariser is the best on all tables (Kadra, Lindauer, Hutter and Grabocka, Well-tuned simple nets excel on tabular
datasets, 2021); (3) early stopping does what L2 does (Goodfellow, Bengio and Courville, Deep Learning, 2016, section
7.8, for a quadratic loss); (4) where most inputs are irrelevant, L1 is better than L2 (Ng, Feature selection, L1 vs. L2
regularization, 2004). Ranks over tables as advised by Demšar, 2006.
Here: the methods, strengths, network and learning rate of `jaxreg search`, on five tables of scikit-learn and 20
made-up ones. A table of 40 rows has 30 to train and 10 to choose the strength in each draw; other rows test. Made-up
tables are new in each draw; a draw of the others is a split of the same rows. Intervals of ranks are over tables. The
second half of the draws is the rerun from other seeds.
Command: python experiments/headlines/which_regulariser.py (--draws, --epochs, --out change its size and place;
--folder takes the CSV files of a folder instead of these tables, with the last column as the target).
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from headline import RESAMPLES, changed, detectable, headline, mean_of
from matplotlib.figure import Figure
from scipy.stats import friedmanchisquare, rankdata, ttest_1samp
from sklearn import datasets

from jaxreg.lab import BINARY, CLASSES, MLP, NUMBERS, Data, Problem, Task, fit, linen, standardised, sweep
from jaxreg.lab.data import parted
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend
from jaxreg.lab.search.candidates import DROPOUT, NONE, Candidate, Knobs, candidates
from jaxreg.lab.search.candidates import METHODS as SEARCHED
from jaxreg.lab.stats import holm
from jaxreg.lab.stats.intervals import constant, mean_interval
from jaxreg.lab.tabular.files import read
from jaxreg.lab.tabular.prepared import prepare

METHODS = tuple(method for method in SEARCHED if method != DROPOUT)
"""All methods of the search but dropout, which it got after this run."""
SIZES = (40, 160)
TESTS, FEWEST_TESTS = 500, 15
UNITS, RATE = 32, 0.01
LARGEST = 1e6
"""Loss that replaces the loss of a diverged training. Its inverse is the smallest loss; lower ones count as equal."""
Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Table:
    """A table: a function from a seed and a number of rows to inputs and targets, and what kind of targets they are."""

    draw: Callable[[int, int], Rows]
    task: Task
    rows: float = np.inf

    def data(self, states: range, rows: int) -> Data:
        """Rows to train and to choose on, three to one, and others to test, of each draw."""
        draws = [self.draw(state, int(min(rows + TESTS, self.rows))) for state in states]
        x, y = (np.stack(arrays) for arrays in zip(*draws, strict=True))
        kind = np.int32 if self.task is CLASSES else np.float32
        split = parted(x.astype(np.float32), y.astype(kind), 3 * rows // 4, rows // 4)
        return standardised(split, targets=not self.task.classes)


def fixed(x: np.ndarray, y: np.ndarray, task: Task) -> Table:
    """A table whose draws are splits of the same rows."""

    def draw(state: int, rows: int) -> Rows:
        order = np.random.default_rng(state).permutation(len(x))[:rows]
        return x[order], y[order]

    return Table(draw, task, len(x))


def made(make: Callable[..., Rows], task: Task, **options: Any) -> Table:
    """A table of a generator of scikit-learn."""
    return Table(lambda state, rows: make(n_samples=rows, random_state=state, **options), task)


def drawn(make: Callable[[np.random.Generator, np.ndarray], np.ndarray], task: Task, inputs: int) -> Table:
    """A table of normal inputs, whose targets a function makes."""

    def draw(state: int, rows: int) -> Rows:
        random = np.random.default_rng(state)
        x = random.normal(size=(rows, inputs))
        return x, make(random, x)

    return Table(draw, task)


def flipped(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """The sign of a random linear rule, a fifth of it wrong."""
    signs: np.ndarray = x @ random.normal(size=x.shape[1]) > 0
    return signs ^ (random.uniform(size=len(x)) < 0.2)


def exclusive(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Whether the signs of the first two inputs differ, a tenth of it wrong."""
    signs: np.ndarray = x[:, 0] * x[:, 1] > 0
    return signs ^ (random.uniform(size=len(x)) < 0.1)


def wave(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A sine of one input, with noise."""
    found: np.ndarray = np.sin(3 * x[:, 0]) + 0.3 * random.normal(size=len(x))
    return found


def heavy_tailed(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A linear rule with noise of Student's t, 2 degrees of freedom."""
    found: np.ndarray = x @ random.normal(size=x.shape[1]) + random.standard_t(2, size=len(x))
    return found


def products(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Products of pairs of the first six of the inputs, with noise."""
    found: np.ndarray = (x[:, :6:2] * x[:, 1:6:2]).sum(1) + 0.5 * random.normal(size=len(x))
    return found


def three_of_many(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """The sign of a linear rule of 3 inputs, with noise."""
    found: np.ndarray = x[:, :3].sum(1) + random.normal(size=len(x)) > 0
    return found


def bundled() -> dict[str, Table]:
    """The classified and measured tables that come with scikit-learn."""
    loaders = {
        "iris": (datasets.load_iris, CLASSES),
        "wine": (datasets.load_wine, CLASSES),
        "breast cancer": (datasets.load_breast_cancer, BINARY),
        "digits": (datasets.load_digits, CLASSES),
        "diabetes": (datasets.load_diabetes, NUMBERS),
    }
    found = {}
    for name, (load, task) in loaders.items():
        x, y = load(return_X_y=True)
        found[name] = fixed(x, y, task)
    return found


def far(n_samples: int, random_state: int) -> Rows:
    """Whether the sum of 10 squares is above its median, as 0 and 1 (scikit-learn has -1 and 1)."""
    x, signs = datasets.make_hastie_10_2(n_samples=n_samples, random_state=random_state)
    return x, signs > 0


SPARSE = ("3 of 40 inputs, classes", "5 of 30 inputs, numbers", "4 of 20 inputs, classes", "4 of 10 inputs, numbers")
"""Made-up tables on which most inputs are irrelevant."""


def made_up() -> dict[str, Table]:
    """Generated tables, new in each draw."""
    classes = partial(made, datasets.make_classification, n_redundant=0)
    return {
        "moons": made(datasets.make_moons, BINARY, noise=0.3),
        "circles": made(datasets.make_circles, BINARY, noise=0.2, factor=0.5),
        "quantiles of a normal": made(datasets.make_gaussian_quantiles, BINARY, n_features=5, n_classes=2),
        "sum of 10 squares": made(far, BINARY),
        "4 clusters": made(datasets.make_blobs, CLASSES, centers=4, n_features=3, cluster_std=4.0),
        SPARSE[2]: classes(BINARY, n_features=20, n_informative=4, flip_y=0.1),
        "10 of 12 inputs, classes": classes(BINARY, n_features=12, n_informative=10, flip_y=0.1),
        "5 of 10 inputs, 3 classes": classes(CLASSES, n_features=10, n_informative=5, n_classes=3, flip_y=0.1),
        "linear rule, noisy labels": drawn(flipped, BINARY, 10),
        "exclusive or": drawn(exclusive, BINARY, 5),
        SPARSE[0]: drawn(three_of_many, BINARY, 40),
        "Friedman 1": made(datasets.make_friedman1, NUMBERS, noise=1.0),
        "Friedman 2": made(datasets.make_friedman2, NUMBERS, noise=125.0),
        "Friedman 3": made(datasets.make_friedman3, NUMBERS, noise=0.1),
        SPARSE[1]: made(datasets.make_regression, NUMBERS, n_features=30, n_informative=5, noise=50.0),
        "30 of 30 inputs, numbers": made(
            datasets.make_regression, NUMBERS, n_features=30, n_informative=30, noise=100.0
        ),
        SPARSE[3]: made(datasets.make_sparse_uncorrelated, NUMBERS),
        "sine": drawn(wave, NUMBERS, 1),
        "heavy tails": drawn(heavy_tailed, NUMBERS, 8),
        "products": drawn(products, NUMBERS, 8),
    }


def _task(classes: int) -> Task:
    if classes == 2:
        return BINARY
    return CLASSES if classes else NUMBERS


def folder(path: Path) -> dict[str, Table]:
    """The CSV files of a folder; the last column is the target."""
    files = sorted(path.glob("*.csv"))
    if not files:
        raise SystemExit(f"--folder {path}: no file there ends in .csv; expected one or more tables")
    found = {}
    for file in files:
        table = prepare(file, list(read(file))[-1])
        classes = len(table.target.classes)
        found[file.stem] = fixed(
            table.x, table.target.y, NUMBERS if not classes else BINARY if classes == 2 else CLASSES
        )
    return found


def lane(problem: Problem, candidate: Knobs, draw: jax.Array) -> dict[str, Any]:
    """One training of one candidate, on all its rows at once."""
    found = fit(problem, candidate.recipe(RATE, problem.epochs), jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("validation_loss", "test_loss")}


def axis(tried: list[Candidate]) -> Knobs:
    """The strengths of all candidates, as one axis of a sweep."""
    knobs = jax.tree.map(lambda *values: np.asarray(values, np.float32), *(candidate.knobs for candidate in tried))
    return replace(knobs, stop=np.asarray([candidate.knobs.stop for candidate in tried], np.int32))


def losses(table: Table, rows: int, draws: int, epochs: int, store: Path) -> xr.Dataset:
    """Losses of all candidates in all draws of one table."""
    data = table.data(range(draws), rows)
    outputs = int(data.y_train.max()) + 1 if table.task is CLASSES else 1
    model = linen(MLP(hidden=UNITS, outputs=outputs), data.x_train.shape[2:])
    batch = data.y_train.shape[1]
    problem = Problem(model, data, epochs, table.task.loss, {}, batch_size=batch, record_every=epochs)
    over = {"candidate": axis(candidates(METHODS, epochs, 1, fewer=True)), "draw": np.arange(draws)}
    return sweep(partial(lane, problem), over, store).load()


def logarithm(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.log(np.clip(np.nan_to_num(values, nan=LARGEST), 1 / LARGEST, LARGEST))
    return found


def chosen(found: xr.Dataset, tried: list[Candidate]) -> xr.Dataset:
    """Logarithms of the losses of each method, with the strength that validation rows choose in each draw."""
    logs = {name: logarithm(found[name].transpose("candidate", "draw").values) for name in found}
    kept: dict[str, list[np.ndarray]] = {"validation_loss": [], "test_loss": [], "candidate": []}
    for method in METHODS:
        places = np.array([place for place, each in enumerate(tried) if each.method == method])
        best = places[logs["validation_loss"][places].argmin(0)]
        for name, values in logs.items():
            kept[str(name)].append(np.take_along_axis(values, best[None], 0)[0])
        kept["candidate"].append(best)
    return xr.Dataset({name: (("rule", "draw"), np.stack(values)) for name, values in kept.items()})


def trained(asked: argparse.Namespace) -> xr.Dataset:
    tables = folder(asked.folder) if asked.folder else bundled() | made_up()
    tried = candidates(METHODS, asked.epochs, 1, fewer=True)
    found: dict[tuple[str, int], xr.Dataset] = {}
    sizes = [rows for rows in SIZES if any(table.rows >= rows + FEWEST_TESTS for table in tables.values())]
    if not sizes:
        raise SystemExit(f"no table has {SIZES[0] + FEWEST_TESTS} rows; expected one or more")
    for name, rows in product(tables, sizes):
        if tables[name].rows >= rows + FEWEST_TESTS:
            store = asked.out / f"{name.replace(' ', '_')}_{rows}"
            found[name, rows] = chosen(losses(tables[name], rows, 2 * asked.draws, asked.epochs, store), tried)
    missing = xr.full_like(next(iter(found.values())).astype(float), np.nan)
    by_table = [xr.concat([found.get((name, rows), missing) for rows in sizes], "rows") for name in tables]
    joined = xr.concat(by_table, "table").assign_coords(
        rule=list(METHODS), rows=sizes, table=list(tables), label=("tried", [each.label for each in tried])
    )
    joined = joined.assign(measured=("table", np.array([np.isfinite(each.rows) for each in tables.values()], np.int8)))
    return halves(joined, asked.draws)


def halves(joined: xr.Dataset, draws: int) -> xr.Dataset:
    """Both runs along one axis, as small numbers."""
    first, again = joined.isel(draw=slice(draws)), joined.isel(draw=slice(draws, None)).assign_coords(draw=range(draws))
    halved = ["validation_loss", "test_loss", "candidate"]
    runs = xr.concat([first, again], xr.DataArray([0, 1], dims="run", name="run"), data_vars=halved)
    for name in ("validation_loss", "test_loss"):
        runs[name].encoding = {"dtype": "int16", "scale_factor": 1 / 2000, "_FillValue": -(2**15)}
    runs["candidate"].encoding = {"dtype": "int8", "_FillValue": -1}
    return runs


RUNS = ("First run", "Rerun from other seeds")


def part(found: xr.Dataset, run: int, rows: int) -> xr.Dataset:
    """The tables that have as many rows."""
    kept: xr.Dataset = found.sel(run=run, rows=rows).dropna("table", subset=["test_loss"])
    return kept


def ranks(found: xr.Dataset) -> xr.DataArray:
    """Mean rank of each method on each table; 1 is the best of all methods in each draw."""
    values = found["test_loss"].transpose("table", "draw", "rule")
    ranked: xr.DataArray = values.copy(data=rankdata(values, axis=-1)).mean("draw").transpose("rule", "table")
    return ranked


def gains(found: xr.Dataset) -> xr.DataArray:
    """Change of the logarithm of the test loss against no regulariser."""
    changes: xr.DataArray = (found["test_loss"] - found["test_loss"].sel(rule=NONE)).drop_sel(rule=NONE)
    return changes.transpose("rule", "table", "draw")


def best_of(found: xr.Dataset, methods: list[str]) -> xr.DataArray:
    """Mean logarithm of the test loss per table, if validation rows choose among some methods in each draw."""
    some = found.sel(rule=methods)
    picked: xr.DataArray = some["test_loss"].isel(rule=some["validation_loss"].argmin("rule"))
    return picked.mean("draw")


def beyond_chance(changes: xr.DataArray) -> xr.DataArray:
    """-1 for changes of a table that are improvements beyond chance, 1 for harms, else 0 (t-test over draws, Holm)."""
    values = changes.transpose(..., "draw").values
    still = constant(values)[..., None]  # all draws change alike, as where nothing does: no test
    p = ttest_1samp(np.where(still, np.arange(values.shape[-1]), values), 0, axis=-1).pvalue
    means = changes.mean("draw")
    sure = holm(means.copy(data=np.where(still[..., 0], 1.0, p))) < 0.05
    return means.copy(data=np.where(sure, np.sign(means), 0.0))


def mean_ranks(found: xr.Dataset, rows: list[int], runs: Sequence[int] = (0, 1)) -> xr.DataArray:
    """Mean rank of each method over tables, sizes and runs, the best first."""
    each = [ranks(part(found, run, size)).mean("table") for run, size in product(runs, rows)]
    mean = xr.concat(each, "case").mean("case")
    return mean.isel(rule=np.argsort(mean.values))


def advice(found: xr.Dataset) -> list[str]:
    """All methods but none, the least mean rank first, each with the strength that is chosen most often."""
    sizes = found["rows"].values.tolist()
    said = []
    for method in mean_ranks(found, sizes)["rule"].values.tolist():
        times = [
            part(found, run, rows)["candidate"].sel(rule=method).values.ravel() for run, rows in product((0, 1), sizes)
        ]
        said.append(str(found["label"].values[np.bincount(np.concatenate(times).astype(int)).argmax()]))
    said.remove(NONE)
    return said


def tell(found: xr.Dataset) -> Figure:
    sizes, methods = found["rows"].values.tolist(), found["rule"].values.tolist()
    cases = int(found["test_loss"].sel(rule=NONE).notnull().sum())
    print(
        f"{cases * found.sizes['tried']} trainings on {found.sizes['table']} tables, {found.sizes['draw']} draws in "
        f"each of two runs. Ranks are those of {len(methods)} methods, 1 is the best. Changes are of the logarithm of "
        "the test loss. 95 % intervals over tables. On one table, beyond chance is by a t-test over draws (Holm)."
    )
    for run, words in enumerate(RUNS):
        print(
            f"{words}: mean ranks, and on how many tables a method is better or worse than none beyond chance. Made-up "
            "tables come first, then measured ones."
        )
        _table(found, run)
        for rows in sizes:
            _told(part(found, run, rows), f"{words}, {rows} rows")
    for run, words in enumerate(RUNS):
        _claims(found, run, words)
    _order(found)
    print(f"Order of trial by the ranks of both runs, with the strength chosen most often: {', '.join(advice(found))}.")
    _ends(found)
    return _drawn(found)


def _ends(found: xr.Dataset) -> None:
    """How often the strongest of the tried strengths is chosen: more could be better still."""
    labels, said = found["label"].values.tolist(), []
    for method in ("L2", "group lasso", "decay"):
        picked = found["candidate"].sel(rule=method).values
        last = max(place for place, label in enumerate(labels) if label.startswith(f"{method}("))
        said.append(f"{labels[last]} ({np.mean(picked[np.isfinite(picked)] == last):.0%})")
    print(f"The strongest that is tried is chosen often: {', '.join(said)}.")


def _table(found: xr.Dataset, run: int) -> None:
    sizes = found["rows"].values.tolist()
    columns = [f"{rows} rows: {what}" for rows in sizes for what in ("mean rank", "better", "worse")]
    print(f"| method | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}")
    parts = [part(found, run, rows) for rows in sizes]
    signs = [beyond_chance(gains(each)) for each in parts]
    for method in mean_ranks(found, sizes, [run])["rule"].values.tolist():
        cells = []
        for each, sign in zip(parts, signs, strict=True):
            cells.append(mean_of(ranks(each).sel(rule=method).values, 2))
            for better in (-1, 1):
                kinds = [] if method == NONE else [(each["measured"] == kind).values for kind in (0, 1)]
                counts = [f"{int((sign.sel(rule=method).values[kind] == better).sum())}/{kind.sum()}" for kind in kinds]
                cells.append(", ".join(counts))
        print(f"| {method} | {' | '.join(cells)} |")


def _told(found: xr.Dataset, words: str) -> None:
    placed = ranks(found)
    if found.sizes["table"] > 2:
        p = friedmanchisquare(*placed.values).pvalue
        print(f"{words}: Friedman's test of equal ranks gives p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}.")
    best = found["test_loss"].mean("draw").transpose("rule", "table").argmin("rule")
    counts = sorted(zip(*np.unique(found["rule"].values[best], return_counts=True), strict=True), key=lambda c: -c[1])
    print(f"{words}: the least mean loss is that of {', '.join(f'{name} ({count})' for name, count in counts)}.")
    changes = gains(found)
    seen = np.median([detectable(each) for each in changes.values.reshape(-1, changes.sizes["draw"])])
    print(f"{words}, power: four of five such studies would see a change of {seen:.3f} on one table.")
    if found.sizes["table"] > 1:
        against = placed - placed.sel(rule="L2")
        ranked = np.median([detectable(each.values) for each in against if each["rule"] != "L2"])
        print(f"{words}, power: four of five such studies would see a rank that differs from L2's by {ranked:.2f}.")


def _claims(found: xr.Dataset, run: int, words: str) -> None:
    methods, sizes = found["rule"].values.tolist(), found["rows"].values.tolist()
    gained = {}
    for rows in sizes:
        here = part(found, run, rows)
        gained[rows] = best_of(here, methods) - best_of(here, [NONE])
        print(f"{words}, {rows} rows: {changed('choosing among all instead of none changes it', gained[rows].values)}.")
        stopped = here["test_loss"].sel(rule="early stopping") - here["test_loss"].sel(rule="L2")
        told = changed("early stopping instead of L2 changes it", stopped.mean("draw").values)
        print(f"{words}, {rows} rows: {told}.")
        sparse = here.sel(table=[name for name in SPARSE if name in here["table"].values])
        for method in ("L1", "group lasso"):
            changes = sparse["test_loss"].sel(rule=method) - sparse["test_loss"].sel(rule="L2")
            if sparse.sizes["table"]:
                signs = beyond_chance(changes.transpose("table", "draw"))
                print(
                    f"{words}, {rows} rows, {sparse.sizes['table']} tables with irrelevant inputs: {method} is better "
                    f"than L2 beyond chance on {int((signs < 0).sum())}, worse on {int((signs > 0).sum())}."
                )
    few, many = sizes[0], sizes[-1]
    told = changed(f"the gain at {few} rows differs from that at {many} rows", (gained[few] - gained[many]).values)
    print(f"{words}: {told}.")


def _order(found: xr.Dataset) -> None:
    """What the ranks of the first run are worth as an order of trial, in the other run."""
    sizes, methods = found["rows"].values.tolist(), found["rule"].values.tolist()
    order = [method for method in mean_ranks(found, sizes, [0])["rule"].values.tolist() if method != NONE]
    print(f"Order of trial by the ranks of the first run: {', '.join(order)}.")
    for count, rows in product(range(1, 4), sizes):
        here = part(found, 1, rows)
        extra = (best_of(here, [NONE, *order[:count]]) - best_of(here, methods)).values
        words = f"only none and the first {count} instead of all {len(methods)}"
        print(f"Rerun from other seeds, {rows} rows: {changed(f'{words} changes it', extra)}.")


def _drawn(found: xr.Dataset) -> Figure:
    sizes = found["rows"].values.tolist()
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, *maps = figure.subplots(1, 1 + len(sizes), width_ratios=[1.2, *[1] * len(sizes)])
    order = mean_ranks(found, sizes)["rule"].values.tolist()
    for (place, rows), run in product(enumerate(sizes), range(2)):
        placed = ranks(part(found, run, rows)).sel(rule=order)
        heights = np.arange(len(order)) + 0.2 * (2 * place + run) - 0.3
        colour = (BLUE, ORANGE)[place]
        left.hlines(heights, *mean_interval(placed.values, resamples=RESAMPLES), color=colour, alpha=0.6)
        face = colour if run == 0 else "none"
        label = f"{rows} rows" if run == 0 else f"{rows} rows, rerun"
        left.plot(placed.mean("table"), heights, "o", color=colour, markerfacecolor=face, label=label, markersize=4)
    left.set_yticks(range(len(order)), order)
    left.invert_yaxis()
    left.set(xlabel=f"mean rank of {len(order)}, 95 % interval over tables", title="the lower, the better")
    legend(left)
    order.remove(NONE)
    for ax, rows in zip(maps, sizes, strict=True):
        changes = xr.concat([gains(part(found, run, rows)) for run in range(2)], "run").mean(("run", "draw"))
        values = changes.reindex(table=found["table"]).sel(rule=order).transpose("table", "rule")
        image = ax.imshow(values, cmap="RdBu_r", vmin=-0.7, vmax=0.7, aspect="auto")
        ax.set_xticks(range(len(order)), order, rotation=45, ha="right")
        ax.set_yticks(range(found.sizes["table"]), found["table"].values if ax is maps[0] else [])
        ax.grid(visible=False)
        ax.set_title(f"{rows} rows")
    figure.colorbar(image, ax=maps, label="change of the logarithm of the test loss against none")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64, help="of each of the two runs")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="CSV files to use instead; the last column of each is the target")
    headline(parser, "which_regulariser", trained, tell)


if __name__ == "__main__":
    main()
