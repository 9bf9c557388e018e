"""Long runs in segments: the state of each run is passed from one segment to the next, and stored as a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.lab.sweeps.manifest import STATE
from jaxreg.lab.sweeps.outputs import named
from jaxreg.lab.sweeps.structures import Structure

SEGMENT = "segment"


@dataclass(frozen=True)
class Segments:
    """Division of long runs into segments, for `sweep(run, over, segments=…)`.

    The function `run` computes one segment of a run. It takes the argument ``state`` in addition to the axes. It
    returns a pair: the state at the end of the segment, and the outputs of the segment. The outputs get the dimension
    ``segment``.

    The states of all runs are stored at the end of each segment. So a sweep that is killed only loses its current
    segment. To continue a finished sweep, increase `count`.

    Args:
        begin: Function that returns the first state of a run, which is any tree of arrays. Its arguments may be any of
            the axes of the sweep, or none.
        count: Number of segments.
        halve: Name of an output with one number per run, or None to stop no run. After segments 1, 2, 4, 8, …, half of
            the runs stop: those with the highest values of this output (successive halving). Later outputs of stopped
            runs are NaN. The coordinate ``segments`` is the number of segments that each run has computed.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxreg.lab import sweep
        >>> def run(state, rate):
        ...     state = state - rate * state
        ...     return state, {"loss": state**2}
        >>> found = sweep(run, {"rate": [0.1, 0.5]}, segments=Segments(lambda: jnp.array(1.0), 3), progress=False)
        >>> found["loss"].sel(rate=0.5).values.tolist()
        [0.25, 0.0625, 0.015625]

    Reference: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization.
    """

    begin: Callable[..., Any]
    count: int
    halve: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.begin):
            raise TypeError(f"`begin` must be a function that returns the first state, got {self.begin!r}")
        count = self.count
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"`count` must be a positive number of segments, got {count!r}")
        if not isinstance(self.halve, str | None):
            raise TypeError(f"`halve` must be the name of an output, or None to stop no run, got {self.halve!r}")

    def halves(self, number: int) -> bool:
        """Return whether half of the runs are stopped after segment `number`. The first segment has number 1."""
        return self.halve is not None and number & (number - 1) == 0


def first_state(begin: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Wrap `begin` so that it returns the first state of a run as a flat list of arrays."""
    return lambda **point: {STATE: _arrays(begin(**point))}


def advance(run: Callable[..., Any], state: Structure) -> Callable[..., dict[str, Any]]:
    """Wrap `run` so that it takes and returns the state as a flat list of arrays.

    Args:
        run: Function that takes a state and the values of the axes, and returns the next state and outputs.
        state: Tree structure of the state.
    """

    def one(**point: Any) -> dict[str, Any]:
        found = run(state=_restored(state, point.pop(STATE)), **point)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"`run` with segments must return (state, outputs), got {type(found).__name__}")
        after, outputs = found
        _check_same(state, Structure.of(after))
        flat = named(outputs)
        if not flat:
            raise TypeError("`run` returns no array: return an output with the state, as in (state, {'loss': loss})")
        return {**flat, STATE: _arrays(after)}

    return one


def _arrays(state: Any) -> list[Any]:
    arrays = [leaf for leaf in jax.tree.leaves(state) if _is_array(leaf)]
    if not arrays:
        raise TypeError(f"`begin` returns {state!r}, which has no arrays; expected a tree with at least one array")
    return arrays


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float | complex)


def _restored(state: Structure, arrays: list[Any]) -> Any:
    """Rebuild the tree of a state from its stored arrays. Random keys and narrow types are restored."""
    left = iter(arrays)
    leaves = [_as(leaf, next(left)) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf for _, leaf in state.leaves]
    return jax.tree.unflatten(state.tree, leaves)


def _as(leaf: Any, array: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(array, impl=leaf.dtype._impl.name)
    return array.astype(leaf.dtype)


def _check_same(state: Structure, after: Structure) -> None:
    if state.tree != after.tree:
        raise TypeError(
            f"`run` changes the tree structure of the state from {state.tree} to {after.tree}; expected the same "
            "structure"
        )
    for (name, before), (_, now) in zip(state.leaves, after.leaves, strict=True):
        if isinstance(before, jax.ShapeDtypeStruct) and (before.shape, before.dtype) != (now.shape, now.dtype):
            place = f" at {name!r}" if name else ""
            raise TypeError(
                f"`run` changes the state{place} from {before.dtype}{list(before.shape)} to "
                f"{now.dtype}{list(now.shape)}; expected the same shape and type"
            )


def best_half(losses: np.ndarray) -> np.ndarray:
    """Return the sorted indices of the half of the runs with the lowest losses.

    NaN counts as the highest loss. Of equal losses, the first ones belong to the lower half.
    """
    ranked = np.argsort(np.where(np.isnan(losses), np.inf, losses), kind="stable")
    return np.sort(ranked[: max(1, len(losses) // 2)])
