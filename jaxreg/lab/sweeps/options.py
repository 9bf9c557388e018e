"""Optional arguments of `sweep`, and checks of their values."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxreg.lab.sweeps.keeping import Best
from jaxreg.lab.sweeps.segments import Segments

OnChunk = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], Any]
"""Function of the coordinates and the outputs of a finished chunk: two dicts of arrays with one row per run."""


@dataclass(frozen=True)
class SweepOptions:
    """Optional arguments of `sweep`. A wrong value raises an error when the object is made."""

    coords: Mapping[str, Any] | None = None
    chunk: int | None = None
    executor: Executor | None = None
    devices: Sequence[jax.Device] | None = None
    progress: bool | None = None
    zipped: bool = False
    on_chunk: OnChunk | None = None
    token: str | None = None
    segments: Segments | None = None
    keep: Best | None = None

    def __post_init__(self) -> None:
        chunk, executor = self.chunk, self.executor
        if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1):
            raise ValueError(f"`chunk` must be a positive number of runs, got {chunk!r}")
        if self.coords is not None and not isinstance(self.coords, Mapping):
            raise TypeError(f"`coords` must be a dict from name to values, got {self.coords!r}")
        if self.on_chunk is not None and not callable(self.on_chunk):
            raise TypeError(f"`on_chunk` must be a function of two dicts (points, arrays), got {self.on_chunk!r}")
        if self.token is not None and not (isinstance(self.token, str) and self.token and self.token.isprintable()):
            raise ValueError(f"`token` must be a printable string, such as '1', got {self.token!r}")
        if not isinstance(self.keep, Best | None):
            raise TypeError(f"`keep` must be best(count, by), got {self.keep!r}")
        if self.keep is not None and jax.process_count() > 1:
            raise ValueError(
                "`keep` doesn't work with jax.distributed. Instead, start separate processes that share one store"
            )
        if not isinstance(self.segments, Segments | None):
            raise TypeError(f"`segments` must be Segments(begin, count), got {self.segments!r}")
        listed = isinstance(self.devices, Sequence | None) and not isinstance(self.devices, str)
        if not listed or not all(isinstance(device, jax.Device) for device in self.devices or ()):
            raise TypeError(
                f"`devices` must be a list of JAX devices, got {self.devices!r}: write devices=jax.devices('cpu')"
            )
        if not hasattr(executor, "submit") and executor is not None:
            raise TypeError(
                f"`executor` must have a method submit, like the executors of concurrent.futures, got {executor!r}"
            )
        context = getattr(executor, "_mp_context", None)
        if isinstance(executor, ProcessPoolExecutor) and context is not None and context.get_start_method() == "fork":
            raise ValueError(
                "`executor` forks this process, but JAX hangs in a forked process. Use "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
            )
