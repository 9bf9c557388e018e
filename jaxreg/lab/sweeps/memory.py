"""Results in memory, for a sweep without a store."""

import io
from collections.abc import Mapping, Set
from pathlib import Path

import jax
import numpy as np

from jaxreg.lab.sweeps.claims import Unshared
from jaxreg.lab.sweeps.dataset import Coordinates
from jaxreg.lab.sweeps.keeping import Keeping, filled, rule_of, split
from jaxreg.lab.sweeps.manifest import Manifest, is_state


class InMemoryStore:
    """Store that keeps finished chunks in memory, with the interface of `jaxreg.lab.sweeps.store.Store`.

    A sweep may keep its large outputs only for the best runs. All other outputs are called small.

    Args:
        manifest: Layout of the results.
        coords: Coordinates of the results.
    """

    def __init__(self, manifest: Manifest, coords: Coordinates) -> None:
        self.manifest = manifest
        self._coords = coords
        self._rule = rule_of(manifest)
        self._best: dict[int, dict[str, np.ndarray]] = {}
        self._chunks: dict[int, dict[str, np.ndarray]] = {}
        self._states: dict[int, dict[str, np.ndarray]] = {}

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.manifest.chunks)

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk index of each run, and the position of the run in its chunk."""
        return self.manifest.chunks.find(lanes)

    def file(self, number: int) -> Path:
        """Return a name for a chunk, for use in error messages."""
        return Path(f"chunk {number}")

    def has(self, number: int) -> bool:
        """Return whether a chunk is finished."""
        return number in self._chunks

    def present(self) -> set[int]:
        """Return the indices of the finished chunks."""
        return set(self._chunks)

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a chunk, or None if the chunk is missing."""
        small = self.small(number)
        return small if small is None or self._rule is None else filled(self.manifest, small, self.kept(number))

    def small(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the small outputs of a chunk, or None if the chunk is missing."""
        return self._chunks.get(number)

    def kept(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the large outputs of the best runs in a chunk, and the row indices of these runs.

        Returns None if no large outputs are kept for the chunk.
        """
        return self._best.get(number)

    def keep(self, number: int, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Replace the large outputs of a chunk by `arrays`. If `arrays` is None, remove the large outputs."""
        self._best.pop(number, None)
        if arrays is not None:
            self._best[number] = dict(arrays)

    def write(self, number: int, arrays: Mapping[str, np.ndarray], width: int) -> None:
        """Keep a finished chunk in memory."""
        outputs = {name: array for name, array in arrays.items() if not is_state(name)}
        if self._rule is not None:
            outputs, large = split(self._rule, outputs)
            self.keep(number, large)
        self._chunks[number] = outputs
        self._states[number] = {name: array for name, array in arrays.items() if is_state(name)}

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the final states of the runs in a chunk, or None if the chunk is missing.

        The next segment of the sweep continues from these states.
        """
        return self._states.get(number)

    def forget_states(self) -> None:
        """Remove the final states of all runs."""
        self._states.clear()

    def stores(self) -> list[Keeping]:
        """Return a list that contains only this store."""
        return [self]

    def drop(self, number: int) -> None:
        """Remove a chunk from memory, so that it is computed again."""
        self._chunks.pop(number, None)

    def claims(self) -> Unshared:
        """Return a substitute for `Claims` that locks nothing, because only this process uses the store."""
        return Unshared()

    def describe(self, advice: str) -> str:
        """Return the message for an interrupted sweep: without a store, nothing is kept."""
        return "stopped; nothing is kept without a store"

    def coords(self) -> Coordinates:
        """Return the coordinates of the results, as a dict from name to (dimension, values)."""
        return self._coords

    def gather(self) -> None:
        """Collect the chunks that the other processes of `jax.distributed` have computed."""
        if jax.process_count() == 1:
            return
        from jax.experimental import multihost_utils

        named = {f"{number} {name}": array for number, arrays in self._chunks.items() for name, array in arrays.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **named)
        mine = np.frombuffer(buffer.getbuffer(), np.uint8)
        sizes = np.ravel(multihost_utils.process_allgather(np.array([mine.size])))
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: mine.size] = mine
        for size, row in zip(sizes, multihost_utils.process_allgather(padded), strict=True):
            with np.load(io.BytesIO(row[:size].tobytes()), allow_pickle=False) as arrays:
                for key in arrays.files:
                    number, name = key.split(" ", 1)
                    self._chunks.setdefault(int(number), {})[name] = arrays[key]
