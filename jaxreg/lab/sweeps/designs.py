"""Axes of a sweep beyond plain lists: points with several settings, named choices, and random samples.

JAX compiles one program for all values that it can trace. A value that JAX can't trace, such as a function, an array
size or None, needs a separate program: see `jaxreg.lab.sweeps.boxes`.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Distribution = Callable[[jax.Array, tuple[int, ...]], jax.Array]
"""Function of a random key and a shape that returns random numbers in this shape, like `jax.random.normal`."""


@dataclass(frozen=True)
class Choice:
    """One value of an axis made by `choices`, with its label. A separate program is compiled for each value.

    Args:
        label: Name or number, used as the coordinate of the entry.
        value: Value passed to the function of the sweep: any Python object.
    """

    label: str | int | float | bool
    value: Any


def choices(*values: Any, **named: Any) -> tuple[Choice, ...]:
    """Make an axis of values that JAX does not trace, such as functions, sizes and names.

    Each value gets a separate compiled program. The results are joined along the axis.

    Args:
        values: Numbers, strings or functions. The label of a function is its name. A number or a string is its own
            label.
        named: Values of any type, passed as `label=value`.

    Returns:
        The entries of the axis.

    Raises:
        ValueError: If there is no value, or two values have the same label. Also if a value without a name, such as a
            lambda or an array, is not passed as `label=value`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxreg.lab import choices, sweep
        >>> over = {"size": choices(2, 4), "act": choices(jax.nn.relu, minus=jnp.negative), "x": [-1.0, 1.0]}
        >>> found = sweep(lambda size, act, x: {"y": act(x * jnp.ones(size)).sum()}, over, progress=False)
        >>> found["y"].sel(size=4, act="minus").values.tolist()
        [4.0, -4.0]
    """
    entries = [Choice(_label(value), value) for value in values]
    entries += [Choice(name, value) for name, value in named.items()]
    labels = [str(entry.label) for entry in entries]
    if not entries:
        raise ValueError("`choices`: there is no value; expected at least one, such as choices(adam=optax.adam)")
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise ValueError(
            f"`choices`: there are two values with the label {sorted(twice)[0]!r}; expected distinct labels, as in "
            "choices(a=…, b=…)"
        )
    return tuple(entries)


def _label(value: Any) -> Any:
    if isinstance(value, str | bool | int | float) and value == value:
        return value
    if isinstance(value, np.generic) and value.ndim == 0:
        return _label(value.item())
    name = getattr(value, "__name__", "<")
    if "<" in name:
        raise ValueError(f"`choices`: the value {value!r} has no name; give it a name, as in choices(mine=…)")
    return name


@dataclass(frozen=True)
class Points:
    """Sweep axis that sets several arguments at once. Use `points` or `samples` to make one.

    Args:
        settings: Dict from each argument to its values, one value per point.
    """

    settings: Mapping[str, Any]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        sizes = {name: _size(name, values) for name, values in self.settings.items()}
        if not sizes:
            raise ValueError(
                "`points` was called without settings; expected at least one, such as points(lr=[0.1, 0.01])"
            )
        if len(set(sizes.values())) > 1 or not all(sizes.values()):
            raise ValueError(f"`points`: the settings have lengths {sizes}; expected equal lengths of at least 1")
        object.__setattr__(self, "size", next(iter(sizes.values())))

    def __len__(self) -> int:
        return self.size

    def __add__(self, other: "Points") -> "Points":
        """Append the points of `other`. A setting that is missing in one of the two sets is None in that set."""
        if not isinstance(other, Points):
            return NotImplemented
        names = dict.fromkeys([*self.settings, *other.settings])
        return Points({name: [*_entries(self, name), *_entries(other, name)] for name in names})


def _entries(rows: Points, name: str) -> list[Any]:
    values = rows.settings.get(name)
    if values is None:
        return [None] * rows.size
    if isinstance(values, list | tuple | range) and not hasattr(values, "_fields"):
        return list(values)
    return [jax.tree.map(lambda leaf, row=row: leaf[row], values) for row in range(rows.size)]


def _size(name: str, values: Any) -> int:
    if isinstance(values, list | tuple | range) and not hasattr(values, "_fields"):
        return len(values)
    leaves = jax.tree.leaves(values)
    if not leaves or not hasattr(leaves[0], "ndim") or not leaves[0].ndim:
        raise ValueError(f"setting {name!r} must be a sequence of values, got {values!r}: write [{values!r}]")
    return len(leaves[0])


class Table(Protocol):
    """Protocol of a DataFrame, such as that of pandas. Columns are arguments of the function, rows are points."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def to_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return a dict from the name of each column to its values."""


Over = Mapping[str, Any] | Points | Table
"""Axes of a sweep: a dict from the name of each axis to its entries. Points or a DataFrame are a single axis."""


def points(**settings: Any) -> Points:
    """Make a sweep axis that sets several arguments at once, such as a learning rate and a decay.

    The axis is for `sweep(run, over)`. Each point is one set of arguments for the function `run`.

    Args:
        settings: Values of each argument of `run`, one per point. Pass them under the name of the argument, such as
            `lr=[0.1, 0.2]`. None means that a setting is off. JAX does not trace None, strings and `Choice`, so each of
            these values gets a separate compiled program.

    Returns:
        The points. `points(...) + points(...)` joins two sets of points. A setting that is missing in one set is None
        in that set.

    Raises:
        ValueError: If the settings have different numbers of values.

    Example:
        >>> from jaxreg.lab import points, sweep
        >>> over = {"config": points(lr=[0.1, 0.2], decay=[0.0, 1.0]), "seed": range(3)}
        >>> found = sweep(lambda lr, decay, seed: {"loss": lr + decay + seed}, over, progress=False)
        >>> dict(found.sizes), found["decay"].values.tolist()
        ({'config': 2, 'seed': 3}, [0.0, 1.0])
    """
    return Points(settings)


def samples(count: int, key: jax.Array | int, /, **settings: Any) -> Points:
    """Sample random points of a sweep, with one distribution per argument.

    The result is an axis for `sweep(run, over)`. Each point is one set of arguments for the function `run`. With the
    same key, a larger sample starts with the points of a smaller one.

    Args:
        count: Number of points.
        key: Random key or integer seed.
        settings: Distribution of each argument of `run`. Pass it under the name of the argument, such as
            `lr=log_uniform(1e-4, 1e-1)`. A distribution is `uniform(...)`, `log_uniform(...)`, `integers(...)` or a
            function of a key and a shape, such as `jax.random.normal`. A sequence of values also works: each point gets
            one of the values at random.

    Returns:
        The points, as from `points`. Their `settings` are a dict from each argument to its sampled values.

    Raises:
        ValueError: If a setting is neither a distribution nor a sequence, or `count` is not a positive integer.

    Example:
        >>> from jaxreg.lab import log_uniform, samples
        >>> drawn = samples(64, 0, lr=log_uniform(1e-4, 1e-1), depth=[1, 2, 3])
        >>> len(drawn), bool((drawn.settings["lr"] >= 1e-4).all())
        (64, True)
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"`count` is {count!r}; expected a positive number of points")
    key = jax.random.key(key) if isinstance(key, int | np.integer) else key
    return Points({name: _drawn(name, setting, count, key) for name, setting in settings.items()})


def _drawn(name: str, setting: Any, count: int, key: jax.Array) -> Any:
    chosen = isinstance(setting, Sequence | np.ndarray | jax.Array) and not isinstance(setting, str | bytes)
    if not (chosen and len(setting)) and not callable(setting):
        raise ValueError(
            f"setting {name!r} is {setting!r}; expected a sequence of values, or a distribution such as "
            "log_uniform(1e-4, 1e-1)"
        )
    if any(setting is maker for maker in (uniform, log_uniform, integers)):
        raise ValueError(
            f"setting {name!r} is the function {setting.__name__}; call it with bounds, as in {setting.__name__}(1, 9)"
        )
    draw = integers(0, len(setting)) if chosen else setting
    # Each setting and point has its own key, so that other settings or more points do not change its value.
    own = jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)
    drawn = np.asarray(jax.vmap(lambda row: draw(jax.random.fold_in(own, row), ()))(jnp.arange(count)))
    return [setting[place] for place in drawn] if chosen else drawn


def uniform(low: float, high: float) -> Distribution:
    """Return a uniform distribution between two numbers, for `samples`.

    For example, `samples(9, 0, momentum=uniform(0.5, 0.9))` makes 9 points of a sweep. Each point gets its own random
    momentum between 0.5 and 0.9.

    Args:
        low: Smallest value.
        high: Upper bound, which is excluded.

    Returns:
        The distribution: a function of a random key and a shape that returns random numbers in this shape.

    Raises:
        ValueError: If a bound is not finite, or `low` is not below `high`.

    Example:
        >>> from jaxreg.lab import samples, uniform
        >>> bool((samples(9, 0, momentum=uniform(0.5, 0.9)).settings["momentum"] < 0.9).all())
        True
    """
    _check_between("uniform", low, high)
    return lambda key, shape: jax.random.uniform(key, shape, minval=low, maxval=high)


def log_uniform(low: float, high: float) -> Distribution:
    """Return a log-uniform distribution between two positive numbers, for `samples`.

    The logarithm of each sample is uniformly distributed. For example, `samples(9, 0, lr=log_uniform(1e-4, 1e-1))`
    makes 9 points of a sweep. Each point gets its own random learning rate between 1e-4 and 1e-1.

    Args:
        low: Smallest value, above 0.
        high: Largest value.

    Returns:
        The distribution: a function of a random key and a shape that returns random numbers in this shape.

    Raises:
        ValueError: If a bound is not finite and positive, or `low` is not below `high`.

    Example:
        >>> from jaxreg.lab import log_uniform, samples
        >>> bool((samples(9, 0, lr=log_uniform(1e-4, 1e-1)).settings["lr"] >= 1e-4).all())
        True
    """
    _check_between("log_uniform", low, high)
    if not low > 0:
        raise ValueError(f"`log_uniform`: the bounds are {low} and {high}; expected positive bounds")
    a, b = math.log(low), math.log(high)
    return lambda key, shape: jnp.clip(jnp.exp(jax.random.uniform(key, shape, minval=a, maxval=b)), low, high)


def integers(low: int, high: int) -> Distribution:
    """Return a uniform distribution over the integers from `low` to `high - 1`, for `samples`.

    For example, `samples(9, 0, depth=integers(1, 4))` makes 9 points of a sweep. Each point gets its own random depth:
    1, 2 or 3.

    Args:
        low: Smallest integer.
        high: Upper bound, which is excluded.

    Returns:
        The distribution: a function of a random key and a shape that returns random integers in this shape.

    Raises:
        ValueError: If a bound is not a whole number, or `low` is not below `high`.

    Example:
        >>> from jaxreg.lab import integers, samples
        >>> set(samples(99, 0, depth=integers(1, 4)).settings["depth"].tolist()) == {1, 2, 3}
        True
    """
    _check_between("integers", low, high)
    if low != int(low) or high != int(high):
        raise ValueError(f"`integers`: the bounds are {low} and {high}; expected whole numbers")
    return lambda key, shape: jax.random.randint(key, shape, low, high)


def _check_between(name: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"`{name}`: the bounds are {low} and {high}; expected two finite bounds, the lower one first")
