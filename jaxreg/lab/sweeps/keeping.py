"""Large outputs that are kept for the best runs only.

Beside a chunk lies ``best-<number>.npz`` with the large outputs of its best runs, as many as are kept in all. When
better runs are finished elsewhere, it is removed. What is left at the end are the best runs of all.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxreg.lab.sweeps.manifest import Manifest, Variable

ROWS = " rows"
"""Name of the rows of a chunk whose large outputs are kept."""


@dataclass(frozen=True)
class Best:
    """Rule of which runs keep their large outputs; see `best`."""

    count: int
    by: str
    outputs: tuple[str, ...] = ()

    def large(self, outputs: Mapping[str, Variable]) -> tuple[str, ...]:
        """Return the names of the outputs that only the best runs keep.

        Raises:
            ValueError: If one that was named, or that ranks the runs, is not there.
        """
        if self.by not in outputs or outputs[self.by].shape or np.dtype(outputs[self.by].dtype).kind not in "iuf":
            one = [name for name, v in outputs.items() if not v.shape]
            raise ValueError(
                f"best(): can't rank the runs by {self.by!r}; expected an output with one number per run, such as {one}"
            )
        if not self.outputs:
            return tuple(name for name, variable in outputs.items() if variable.shape)
        found = [name for name in outputs for given in self.outputs if name == given or name.startswith(f"{given}/")]
        for given in self.outputs:
            if not any(name == given or name.startswith(f"{given}/") for name in found):
                raise ValueError(f"best(): there is no output {given!r}; expected one or more of {', '.join(outputs)}")
        return tuple(name for name in dict.fromkeys(found) if name != self.by)

    def written(self, outputs: Mapping[str, Variable]) -> str:
        """Return the rule as the manifest has it."""
        return json.dumps([self.count, self.by, self.large(outputs)])

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Return the rows of the lowest values, the lowest first."""
        return np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")[: self.count]


def best(count: int, by: str, outputs: str | Sequence[str] = ()) -> Best:
    """Make a rule to store large outputs only for the best runs, as in `sweep(…, keep=best(8, "loss"))`.

    In the results, the large outputs of all other runs are NaN. In a sweep with segments, the rule applies to each
    segment separately.

    Args:
        count: Number of runs whose large outputs are kept.
        by: Output with one number per run; lower is better.
        outputs: Names of the large outputs, or of trees of outputs. By default, all outputs that are arrays, not single
            numbers. The output `by` is kept for all runs.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxreg.lab import sweep
        >>> def run(x):
        ...     return {"loss": (x - 2.0) ** 2, "weights": jnp.full(3, x)}
        >>> found = sweep(run, {"x": [0.0, 1.0, 2.0, 3.0]}, keep=best(1, "loss"), progress=False)
        >>> found["weights"].isnull().any("weights_0").values.tolist()
        [True, True, False, True]
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"count must be a positive number of runs, got {count!r}")
    if not isinstance(by, str):
        raise TypeError(f"by must be the name of an output, got {by!r}")
    return Best(int(count), by, (outputs,) if isinstance(outputs, str) else tuple(outputs))


def rule_of(manifest: Manifest) -> Best | None:
    """Return the rule of a store, with the names of all outputs that it is for; None if all runs keep all."""
    if "keep" not in manifest.identity:
        return None
    count, by, outputs = json.loads(manifest.identity["keep"])
    return Best(count, by, tuple(outputs))


class Keeping(Protocol):
    """A store whose chunks keep large outputs of some runs."""

    @property
    def manifest(self) -> Manifest:
        """Layout of the results."""

    def present(self) -> set[int]:
        """Return the numbers of the chunks that are there."""

    def small(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the outputs of a chunk that all runs keep."""

    def kept(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the large outputs that a chunk keeps, with their rows."""

    def keep(self, number: int, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Replace the large outputs that a chunk keeps; None removes them."""

    def drop(self, number: int) -> None:
        """Remove a chunk, so that it is computed again."""


class Keeper:
    """The best runs so far, over all stores of a sweep.

    Args:
        stores: The stores.
    """

    def __init__(self, stores: Iterable[Keeping]) -> None:
        self._stores = [store for store in stores if rule_of(store.manifest)]
        self._best: list[tuple[float, int, int, int]] = []
        for store in self._stores:
            for number in sorted(store.present()):
                self.note(store, number)

    def note(self, store: Keeping, number: int) -> None:
        """Take in a finished chunk, and remove what is no longer among the best."""
        rule = rule_of(store.manifest)
        if rule is None or (arrays := store.small(number)) is None:
            return
        place, values = self._stores.index(store), np.nan_to_num(arrays[rule.by].astype(float), nan=np.inf)
        runs = [*self._best, *((float(values[row]), place, number, int(row)) for row in rule.rows(values))]
        self._best = sorted(set(runs))[: rule.count]
        for where in {run[1:3] for run in runs} - {run[1:3] for run in self._best}:
            self._stores[where[0]].keep(where[1], None)

    def finish(self) -> bool:
        """Keep exactly the best runs. Drop the chunks of those that are lost, and tell whether there are any."""
        lost = False
        for place, number in sorted({run[1:3] for run in self._best}):
            store, rows = self._stores[place], sorted(run[3] for run in self._best if run[1:3] == (place, number))
            kept = store.kept(number)
            there = [] if kept is None else kept[ROWS].tolist()
            if kept is None or not set(rows) <= set(there):
                store.drop(number)
                lost = True
            elif len(there) > len(rows):
                places = [there.index(row) for row in rows]
                store.keep(number, {name: values[places] for name, values in kept.items()})
        return lost


def split(rule: Best, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the outputs of a chunk that all of its runs keep, and the large ones of its best runs with their rows."""
    rows = np.sort(rule.rows(arrays[rule.by]))
    large = {ROWS: rows} | {name: arrays[name][rows] for name in rule.outputs}
    return {name: values for name, values in arrays.items() if name not in rule.outputs}, large


def filled(
    manifest: Manifest, small: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Return all outputs of a chunk; large ones of runs that do not keep them are NaN."""
    length = len(next(iter(small.values())))
    arrays = dict(small)
    for name, variable in manifest.outputs.items():
        if name not in small:
            arrays[name] = np.full((length, *variable.shape), np.nan, variable.dtype)
            if kept is not None:
                arrays[name][kept[ROWS]] = kept[name]
    return {name: arrays[name] for name in manifest.outputs}
