"""Large outputs that are stored for the best runs only.

A chunk has a second file, ``best-<number>.npz``, with the large outputs of the best runs of this chunk. The file is
removed as soon as none of these runs is among the best runs of the entire sweep. At the end, only the large outputs of
the best runs are left.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxreg.lab.sweeps.manifest import Manifest, Variable

ROWS = " rows"
"""Name of the array with the row numbers of the runs whose large outputs are stored."""


@dataclass(frozen=True)
class Best:
    """Rule that stores large outputs only for the best runs of a sweep. The function `best` makes it."""

    count: int
    by: str
    outputs: tuple[str, ...] = ()

    def large(self, outputs: Mapping[str, Variable]) -> tuple[str, ...]:
        """Return the names of the outputs that are stored for the best runs only.

        Raises:
            ValueError: If a named output does not exist, or `by` is not an output with one number per run.
        """
        one = [name for name, v in outputs.items() if not v.shape and np.dtype(v.dtype).kind in "iuf"]
        if self.by not in one:
            raise ValueError(
                f"`best`: can't rank the runs by {self.by!r}; expected an output with one number per run (here "
                f"{' or '.join(map(repr, one)) or 'there is none'})"
            )
        if not self.outputs:
            return tuple(name for name, variable in outputs.items() if variable.shape)
        found = [name for name in outputs for given in self.outputs if name == given or name.startswith(f"{given}/")]
        for given in self.outputs:
            if not any(name == given or name.startswith(f"{given}/") for name in found):
                raise ValueError(f"`best`: there is no output {given!r}; expected one or more of {', '.join(outputs)}")
        return tuple(name for name in dict.fromkeys(found) if name != self.by)

    def written(self, outputs: Mapping[str, Variable]) -> str:
        """Return the rule as JSON text for the manifest of a store. `rule_of` reads this text."""
        return json.dumps([self.count, self.by, self.large(outputs)])

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Return the row indices of the `count` lowest values, lowest first. NaN counts as infinity."""
        return np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")[: self.count]


def best(count: int, by: str, outputs: str | Sequence[str] = ()) -> Best:
    """Make a rule that stores large outputs only for the best runs, as in `sweep(…, keep=best(8, "loss"))`.

    In the results, the large outputs of the remaining runs are NaN. If the runs are divided into `Segments`, the rule
    applies to each segment separately.

    Args:
        count: Number of runs whose large outputs are kept.
        by: Output with one number per run; lower is better.
        outputs: Names of the large outputs. If the function of the sweep returns a nested dict, such as
            {"params": {"kernel": …}}, the name "params" stands for all arrays in it. By default, all outputs that are
            arrays instead of single numbers. The output `by` is kept for all runs.

    Raises:
        ValueError: If `count` is not a positive integer.
        TypeError: If `by` is not a string.

    Example:
        Only the run with the lowest loss keeps its weights, here that of x = 2. The output `weights` has one axis,
        which is called `weights_0` in the results.

        >>> import jax.numpy as jnp
        >>> from jaxreg.lab import sweep
        >>> def run(x):
        ...     return {"loss": (x - 2.0) ** 2, "weights": jnp.full(3, x)}
        >>> found = sweep(run, {"x": [0.0, 1.0, 2.0, 3.0]}, keep=best(1, "loss"), progress=False)
        >>> found["weights"].isnull().any("weights_0").values.tolist()
        [True, True, False, True]
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"`count` must be a positive number of runs, got {count!r}")
    if not isinstance(by, str):
        raise TypeError(f"`by` must be the name of an output, got {by!r}")
    return Best(int(count), by, (outputs,) if isinstance(outputs, str) else tuple(outputs))


def rule_of(manifest: Manifest) -> Best | None:
    """Return the `Best` rule in a manifest. None means that the large outputs of all runs are stored."""
    if "keep" not in manifest.identity:
        return None
    count, by, outputs = json.loads(manifest.identity["keep"])
    return Best(count, by, tuple(outputs))


class Keeping(Protocol):
    """Interface of a store that can keep large outputs for the best runs only."""

    @property
    def manifest(self) -> Manifest:
        """Manifest: names, dimensions, shapes and types of the results."""

    def present(self) -> set[int]:
        """Return the indices of the stored chunks."""

    def small(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the small outputs of a chunk, which are stored for all runs."""

    def kept(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the large outputs of the best runs in a chunk, and the row indices of these runs."""

    def keep(self, number: int, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Replace the stored large outputs of a chunk, or remove them if `arrays` is None."""

    def drop(self, number: int) -> None:
        """Remove a chunk from the store, so that it is computed again."""


class Keeper:
    """Record of the best runs so far, across all stores of a sweep.

    Args:
        stores: All stores of the sweep.
    """

    def __init__(self, stores: Iterable[Keeping]) -> None:
        self._stores = [store for store in stores if rule_of(store.manifest)]
        self._best: list[tuple[float, int, int, int]] = []
        self._noted: set[tuple[int, int]] = set()
        self._note_present()

    def note(self, store: Keeping, number: int) -> None:
        """Update the record of the best runs with the runs of a finished chunk.

        Chunks that no longer contain one of the best runs lose their large outputs.
        """
        rule = rule_of(store.manifest)
        if rule is None or (arrays := store.small(number)) is None:
            return
        place = self._stores.index(store)
        self._noted.add((place, number))
        values = np.nan_to_num(arrays[rule.by].astype(float), nan=np.inf)
        runs = [*self._best, *((float(values[row]), place, number, int(row)) for row in rule.rows(values))]
        self._best = sorted(set(runs))[: rule.count]
        for where in {run[1:3] for run in runs} - {run[1:3] for run in self._best}:
            self._stores[where[0]].keep(where[1], None)

    def _note_present(self) -> None:
        """Add the runs of all stored chunks that are not added yet."""
        for place, store in enumerate(self._stores):
            for number in sorted(store.present()):
                if (place, number) not in self._noted:
                    self.note(store, number)

    def finish(self) -> bool:
        """Remove the large outputs of all runs except the best ones.

        First, the chunks that other processes finished in the meantime are added to the record. So all processes keep
        the same runs. If the large outputs of one of the best runs are lost, the chunk of this run is removed. It is
        then computed again.

        Returns:
            True if a chunk was removed.
        """
        lost = False
        self._note_present()
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
    """Split the outputs of a chunk into small ones, stored for all runs, and large ones, stored for the best runs."""
    rows = np.sort(rule.rows(arrays[rule.by]))
    large = {ROWS: rows} | {name: arrays[name][rows] for name in rule.outputs}
    return {name: values for name, values in arrays.items() if name not in rule.outputs}, large


def filled(
    manifest: Manifest, small: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Return all outputs of a chunk, with NaN for the large outputs that are not stored."""
    length = len(next(iter(small.values())))
    arrays = dict(small)
    for name, variable in manifest.outputs.items():
        if name not in small:
            arrays[name] = np.full((length, *variable.shape), np.nan, variable.dtype)
            if kept is not None:
                arrays[name][kept[ROWS]] = kept[name]
    return {name: arrays[name] for name in manifest.outputs}
