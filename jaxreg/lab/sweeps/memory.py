"""The chunks of a sweep that keeps no store."""

from __future__ import annotations

import io

import jax
import numpy as np

from jaxreg.lab.sweeps.outputs import Arrays
from jaxreg.lab.sweeps.store import Manifest


class Memory:
    """Finished chunks in memory.

    Args:
        manifest: whose chunks they are.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.chunks: dict[int, Arrays] = {}

    def has(self, number: int) -> bool:
        """Whether a chunk is there."""
        return number in self.chunks

    def read(self, number: int) -> Arrays | None:
        """A chunk, or None if it isn't there."""
        return self.chunks.get(number)

    def write(self, number: int, arrays: Arrays, width: int) -> None:
        """Keep a chunk."""
        self.chunks[number] = arrays

    def gather(self) -> None:
        """Give every process of `jax.distributed` the chunks of all."""
        if jax.process_count() == 1:
            return
        from jax.experimental import multihost_utils

        named = {f"{n} {name}": array for n, chunk in self.chunks.items() for name, array in chunk.items()}
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
                    self.chunks.setdefault(int(number), {})[name] = arrays[key]
