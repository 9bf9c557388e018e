"""How often the verdict names a regulariser on tables whose target has nothing to do with the columns.

    python scripts/search/null_tables.py [--quick] [--tables 40]

The first 24 tables have made columns as people have them: people, houses, sensors and sales, with words, dates, skewed
numbers and missing cells. Their targets are shuffled: two classes, four uneven classes or a skewed number. The others
are tables that ship with scikit-learn, with the targets permuted. Each table is searched with default settings, or with
those of `--quick`. The program prints one line per table: its name, its size, whether the verdict names a method, and
the first sentence of the verdict. The last line is the count. A table takes 5 to 15 seconds of two cores.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from sklearn import datasets

from jaxreg.lab.search import Plan, search

ROWS = (90, 120, 240)
MOST = 240
"""Number of rows that are kept of a table of scikit-learn."""


def people(rng: np.random.Generator, rows: int) -> dict:
    """Return columns of persons, with missing incomes."""
    age = rng.normal(45, 15, rows).clip(18, 90).round()
    income = np.exp(rng.normal(10, 0.5, rows) + age / 100).round(-2)
    return {
        "age": age,
        "income": np.where(rng.random(rows) < 0.1, np.nan, income),
        "children": rng.poisson(1.2, rows),
        "town": rng.choice(["Ulm", "Bonn", "Kiel", "Jena"], rows, p=[0.5, 0.25, 0.15, 0.1]),
        "smoker": rng.choice(["yes", "no"], rows, p=[0.2, 0.8]),
    }


def houses(rng: np.random.Generator, rows: int) -> dict:
    """Return columns of houses, of which several depend on the area."""
    area = rng.gamma(6, 20, rows).round()
    return {
        "area": area,
        "rooms": (area / 25 + rng.normal(0, 0.7, rows)).clip(1).round(),
        "built": 2020 - rng.exponential(40, rows).round(),
        "distance": rng.exponential(5, rows).round(1),
        "heating": rng.choice(["gas", "oil", "heat pump"], rows),
        "garden": (area * rng.uniform(0.5, 4, rows)).round() * (rng.random(rows) < 0.6),
    }


def sensors(rng: np.random.Generator, rows: int) -> dict:
    """Return ten correlated measurements with outliers."""
    hidden = rng.normal(size=(rows, 3))
    values = hidden @ rng.normal(size=(3, 10)) + 0.5 * rng.standard_t(3, size=(rows, 10))
    return {f"sensor {place}": column for place, column in enumerate(values.T, 1)}


def sales(rng: np.random.Generator, rows: int) -> dict:
    """Return columns of sales, with a date."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), "D")
    return {
        "price": np.exp(rng.normal(3, 0.8, rows)).round(2),
        "discount": rng.choice([0, 5, 10, 20, 50], rows, p=[0.6, 0.15, 0.1, 0.1, 0.05]),
        "pieces": 1 + rng.poisson(1.0, rows),
        "category": rng.choice([f"category {letter}" for letter in "ABCDEFGH"], rows),
        "day": days.strftime("%Y-%m-%d"),
    }


def targets(kind: str, rng: np.random.Generator, rows: int) -> np.ndarray:
    """Return a target that is independent of all columns."""
    if kind == "number":
        return np.exp(rng.normal(0, 0.7, rows))
    names, shares = ("ab", [0.6, 0.4]) if kind == "two classes" else ("abcd", [0.45, 0.3, 0.15, 0.1])
    return rng.choice(list(names), rows, p=shares)


MADE: tuple[Callable[[np.random.Generator, int], dict], ...] = (people, houses, sensors, sales)
BUNDLED = (
    datasets.load_iris,
    datasets.load_wine,
    datasets.load_breast_cancer,
    datasets.load_diabetes,
    datasets.load_digits,
)


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and the data frame of each table. The target is the column `target`."""
    each = itertools.product(range(2), ("two classes", "four classes", "number"), MADE)
    for number, (again, kind, made) in enumerate(each):
        rng = np.random.default_rng(50_000 + number)
        rows = ROWS[(number + again) % len(ROWS)]
        yield f"{made.__name__}, {kind}", pd.DataFrame(made(rng, rows)).assign(target=targets(kind, rng, rows))
    for number in itertools.count():
        load = BUNDLED[number % len(BUNDLED)]
        rng = np.random.default_rng(60_000 + number)
        frame = load(as_frame=True).frame.sample(frac=1, random_state=number)[:MOST]
        name = load.__name__.removeprefix("load_")
        classes = load is not datasets.load_diabetes
        target = rng.permutation(frame["target"].to_numpy())
        yield f"{name}, permuted", frame.assign(target=[f"class {each}" for each in target] if classes else target)


def main() -> None:
    """Print a line for each table and the number of tables with a named method."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the settings of jaxreg search --quick")
    parser.add_argument("--tables", type=int, default=40, help="number of tables (default: 40)")
    arguments = parser.parse_args()
    plan = Plan(quick=True, repeats=1) if arguments.quick else Plan()
    named = []
    start = time.perf_counter()
    for name, frame in itertools.islice(tables(), arguments.tables):
        begun = time.perf_counter()
        found = search(frame, target="target", plan=plan)
        lead = found.verdict.split("\n")[0]
        # "Use no model", "Use no regulariser" and "The outer folds do not show" name none.
        named.append(lead.startswith((f"Use {found.chosen.label}:", "A regulariser helps")))
        told = "NAMES A METHOD" if named[-1] else "names none"
        seconds = time.perf_counter() - begun
        print(f"{len(named):3}. {name}, {len(frame)} rows: {told}; {seconds:.0f} s. {lead}", flush=True)
    how = "--quick" if arguments.quick else "default settings"
    seconds = time.perf_counter() - start
    print(f"A method is named on {sum(named)} of {len(named)} tables, with {how}, in {seconds:.0f} s.")


if __name__ == "__main__":
    main()
