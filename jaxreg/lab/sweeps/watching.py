"""Progress of a sweep in another process, read from its store: finished runs, speed, and statistics of the outputs."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxreg.lab.sweeps.joined import Joined, needed_chunks, open_any
from jaxreg.lab.sweeps.keeping import rule_of
from jaxreg.lab.sweeps.progress import count_diverged

_RECENT = 32
"""Number of recent chunks from which the speed is computed."""


@dataclass
class Figures:
    """Count, sum, minimum and maximum of the finite values of one output."""

    count: int = 0
    total: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: np.ndarray) -> None:
        """Update the statistics with the values of one more chunk."""
        values = values[np.isfinite(values)].astype(float)
        if values.size:
            self.count, self.total = self.count + values.size, self.total + float(values.sum())
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


@dataclass
class Watch:
    """Progress and statistics of a sweep, read from its store. Each chunk is read only once.

    Args:
        path: Folder of the store.
    """

    path: Path
    lanes: int = 0
    finished: int = 0
    diverged: int = 0
    figures: dict[str, Figures] = field(default_factory=dict)
    _seen: dict[Path, tuple[float, int]] = field(default_factory=dict)

    def refresh(self) -> None:
        """Read the chunks that were finished since the last call.

        Raises:
            FileNotFoundError: If there is no store.
            ValueError: If the store is damaged.
        """
        store = open_any(self.path)
        self.lanes = store.manifest.lanes - (store.stopped if isinstance(store, Joined) else 0)
        scalars = [
            name for name, v in store.manifest.outputs.items() if not v.shape and np.dtype(v.dtype).kind in "iuf"
        ]
        rules = [rule for part in store.stores() if (rule := rule_of(part.manifest))]
        kept = {name for rule in rules for name in rule.outputs}  # NaN in most runs, which have not diverged
        needed = needed_chunks(store)
        for number in sorted(store.present()):
            if number not in needed or store.file(number) in self._seen:
                continue
            arrays = store.read(number)
            if arrays is None:
                continue
            lanes = len(next(iter(arrays.values())))
            self._seen[store.file(number)] = (store.file(number).stat().st_mtime, lanes)
            self.finished = min(self.finished + lanes, self.lanes)  # a chunk may hold lanes of a larger sweep
            self.diverged += count_diverged({name: values for name, values in arrays.items() if name not in kept})
            for name in scalars:
                if name in arrays:
                    self.figures.setdefault(name, Figures()).add(arrays[name])

    @property
    def speed(self) -> float:
        """Number of finished runs per second, computed from the most recent chunks; 0 if not known yet."""
        recent = sorted(self._seen.values())[-_RECENT:]
        seconds = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
        return sum(lanes for _, lanes in recent[1:]) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Predicted seconds until the sweep is finished, or None if not known yet."""
        left = self.lanes - self.finished
        return 0.0 if left <= 0 else left / self.speed if self.speed else None

    @property
    def latest(self) -> float | None:
        """Time at which the last chunk was written, in seconds since 1970; None if there is no chunk."""
        return max((time for time, _ in self._seen.values()), default=None)
