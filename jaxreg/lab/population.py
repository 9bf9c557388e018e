"""Searches over strengths that train many runs together: paths, successive halving, population-based training.

The states of all runs form one pytree. The leading axis of each leaf counts the runs. `advance` trains one run: it maps
(state, strengths) to the state after some more training. `loss` measures one run: it maps a state to a scalar. The
functions below apply `advance` and `loss` to all runs together.
"""

import dataclasses
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg._hyperparameters import Number

__all__ = [
    "Points",
    "Survivors",
    "closing_in",
    "evaluated",
    "population_training",
    "successive_halving",
    "warm_path",
    "zeroing_strength",
]

Advance = Callable[[Any, Any], Any]

HALVINGS = 60
"""Number of times that an interval of 120 e-folds is halved to reach the precision of float32."""


def zeroing_strength(rule: Any, gradient: jax.Array) -> jax.Array:
    """Return the smallest penalty strength that keeps weights at zero if they start at zero.

    A regularisation path starts at this strength.

    Args:
        rule: Penalty with a proximal step and a `strength`, such as `L1(1.0)`. The value of the strength is ignored.
        gradient: Gradient of the loss with respect to the weights, at weights of 0.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(round(float(zeroing_strength(jr.L1(1.0), jnp.array([0.5, -2.0]))), 4))
        2.0

    Reference: Friedman, Hastie and Tibshirani (2010), Regularization paths for generalized linear models via coordinate
    descent.
    """

    def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = between
        middle = (low + high) / 2
        empty = jnp.all(dataclasses.replace(rule, strength=jnp.exp(middle)).prox(-gradient, 1.0) == 0)
        return jnp.where(empty, low, middle), jnp.where(empty, middle, high)

    ends = jnp.asarray(-60.0, gradient.dtype), jnp.asarray(60.0, gradient.dtype)
    return jnp.exp(jax.lax.fori_loop(0, HALVINGS, halve, ends)[1])


def warm_path(advance: Advance, state: Any, strengths: jax.Array) -> Any:
    """Train once for each strength in a sequence, starting from the final weights of the previous training.

    Args:
        advance: Function of (state, strength) that trains and returns the new state. Each training starts from trained
            weights, so it can be short.
        state: State before the first training. Use weights of 0 if the strengths decrease from a strength at which all
            weights are 0 (see `jaxreg.lab.population.zeroing_strength`).
        strengths: Strengths in order: an array or a pytree of arrays.

    Returns:
        The state at the end of each training, along a leading axis.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> goal = jnp.array([1.0, 3.0])
        >>> print(warm_path(lambda w, s: jr.L1(s).prox(goal, 1.0), jnp.zeros(2), jnp.array([3.0, 2.0])))
        [[0. 0.]
         [0. 1.]]
    """

    def step(state: Any, strength: Any) -> tuple[Any, Any]:
        state = advance(state, strength)
        return state, state

    return jax.lax.scan(step, state, strengths)[1]


class Survivors(NamedTuple):
    """Runs that remain after `successive_halving` or `population_training`, best first.

    Args:
        state: Final states of the runs, along a leading axis: a tree like the initial `state`.
        strengths: Strengths of the runs, along a leading axis. `population_training` returns their logarithms.
        losses: Loss of each run, of shape (runs,), in increasing order; infinite for a diverged run.
        lanes: Index of the initial run from which each run descends, of shape (runs,). In `population_training`, weak
            runs are replaced by copies of better runs, and a copy takes over the index of the copied run.
    """

    state: Any
    strengths: Any
    losses: jax.Array
    lanes: jax.Array


def successive_halving(
    advance: Advance, loss: Callable[[Any], jax.Array], state: Any, strengths: Any, rungs: int, keep: float = 0.5
) -> Survivors:
    """Train many runs in several rounds (rungs), and drop the worst runs after each round except the last.

    Diverged runs count as the worst. With `keep=0.5`, each rung trains half as many runs as the rung before.

    Args:
        advance: Function of two arguments, the state and the strengths of one run. It trains the run for one rung and
            returns the new state.
        loss: Function that maps the state of one run to the validation loss.
        state: Initial states of all runs, such as their weights, along a leading axis.
        strengths: Strengths of all runs, along a leading axis.
        rungs: Number of rungs; no run is dropped after the last rung.
        keep: Share of runs that continue after a rung, between 0 and 1. At least one run continues.

    Returns:
        `Survivors`: the runs of the last rung, the lowest loss first.

    Raises:
        ValueError: If `keep` is not between 0 and 1.

    Example:
        Run i adds i to its state in each rung. The best states are near 6. Runs 3 and 2 remain after the first rung,
        and run 3 remains after the second. Its final state is 9, and its loss is (9 - 6)² = 9.

        >>> import jax.numpy as jnp
        >>> found = successive_halving(lambda w, s: w + s, lambda w: (w - 6.0) ** 2, jnp.zeros(4), jnp.arange(4.0), 3)
        >>> print(found.lanes, found.losses)
        [3] [9.]

    Reference: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization.
    """
    if not 0 < keep < 1:
        raise ValueError(
            f"successive_halving: keep is {keep}; expected the share of runs to keep, "
            "a number between 0 and 1, such as 0.5"
        )
    lanes = jnp.arange(len(jax.tree.leaves(state)[0]))
    for rung in range(rungs):
        state = jax.vmap(advance)(state, strengths)
        losses = _ranked(jax.vmap(loss)(state))
        left = len(lanes) if rung == rungs - 1 else max(1, int(len(lanes) * keep))
        best = jnp.argsort(losses)[:left]
        state, strengths, losses, lanes = jax.tree.map(itemgetter(best), (state, strengths, losses, lanes))
    return Survivors(state, strengths, losses, lanes)


def population_training(
    advance: Advance,
    loss: Callable[[Any], jax.Array],
    state: Any,
    logs: Any,
    key: jax.Array,
    rounds: int,
    share: float = 0.25,
    spread: Number = 0.7,
) -> Survivors:
    """Train many runs in rounds, and replace the worst runs after each round by perturbed copies of the best runs.

    Each run has a state, such as its weights, and its own regularisation strengths. A copy continues from the state of
    a good run, with randomly changed strengths.

    Args:
        advance: Function of two arguments, the state and the logarithms of the strengths of one run. It trains the run
            for one round and returns the new state.
        loss: Function that maps the state of one run to the validation loss.
        state: Initial states of all runs, along a leading axis.
        logs: Logarithms of the strengths of all runs, along a leading axis.
        key: Random key for the changes of the strengths.
        rounds: Number of rounds; no run is replaced after the last round.
        share: Share of runs that are replaced after each round, at most one half.
        spread: Standard deviation of the random change of a strength's logarithm.

    Returns:
        `Survivors`: as many runs as in `state`, the lowest loss first. Their `strengths` are logarithms.

    Raises:
        ValueError: If `share` is not above 0 and at most 0.5.

    Example:
        Here the new state of a run is the logarithm of its strength. The loss is smallest at a logarithm of 2. The
        initial logarithms are at most -2, so only random changes lead to 2. `losses[0]` is the loss of the best run.

        >>> import jax, jax.numpy as jnp
        >>> logs, key = jnp.linspace(-9.0, -2.0, 8), jax.random.key(0)
        >>> found = population_training(lambda w, s: s, lambda w: (w - 2.0) ** 2, jnp.zeros(8), logs, key, rounds=30)
        >>> print(bool(found.losses[0] < 0.05))
        True

    Reference: Jaderberg et al. (2017), Population based training of neural networks.
    """
    if not 0 < share <= 0.5:
        raise ValueError(
            f"population_training: share is {share}; expected the share of runs to replace, above 0 and at most 0.5"
        )
    count = len(jax.tree.leaves(state)[0])
    moved = max(1, int(share * count))

    def one(carry: Any, number: jax.Array) -> tuple[Any, None]:
        state, logs, lanes, _ = carry
        state = jax.vmap(advance)(state, logs)
        losses = _ranked(jax.vmap(loss)(state))
        order = jnp.argsort(losses)
        state, logs, lanes, losses = jax.tree.map(lambda x: x[order], (state, logs, lanes, losses))
        source = jnp.where(jnp.arange(count) < count - moved, jnp.arange(count), jnp.arange(count) - (count - moved))
        source = jnp.where(number < rounds - 1, source, jnp.arange(count))
        fresh = (jnp.arange(count) >= count - moved) & (number < rounds - 1)
        moves = _moves(logs, jax.random.fold_in(key, number), spread)
        state, logs, lanes, losses = jax.tree.map(lambda x: x[source], (state, logs, lanes, losses))
        logs = jax.tree.map(lambda x, move: x + move * fresh.reshape(-1, *[1] * (x.ndim - 1)), logs, moves)
        return (state, logs, lanes, losses), None

    start = (state, logs, jnp.arange(count), jnp.zeros(count))
    (state, logs, lanes, losses), _ = jax.lax.scan(one, start, jnp.arange(rounds))
    return Survivors(state, logs, losses, lanes)


class Points(NamedTuple):
    """Evaluated points of a search, best first, with their losses. Each point is a set of regularisation strengths.

    Args:
        logs: Logarithms of the strengths: an array, or a tree of arrays, with one point per entry of the first axis.
        losses: Loss of each point, of shape (points,); infinite for a diverged training.
    """

    logs: Any
    losses: jax.Array


def closing_in(
    loss: Callable[[Any], jax.Array],
    met: Points,
    key: jax.Array,
    spreads: Sequence[float],
    count: int,
    ends: tuple[Number, Number],
) -> Points:
    """Search for good strengths in rounds. Each round samples new strengths near the best strengths so far.

    Unlike gradient descent, this search also works for a loss that is not smooth.

    Args:
        loss: Function that trains one run and returns its validation loss, a scalar. Its argument is one point, the
            logarithms of the strengths: a tree like `met.logs`, without the leading axis.
        met: Points to start with, as returned by `evaluated`. Let k be their number. Each round keeps the k best of
            all points so far.
        key: Random key for the new points.
        spreads: Standard deviation of the random change of a strength's logarithm, one number per round.
        count: Number of new points per round. Each kept point gets an equal share of them.
        ends: Smallest and largest logarithm of a strength. New points beyond the ends are clipped.

    Returns:
        The k best points of all rounds, the lowest loss first.

    Example:
        The search starts from the best of three points, and finds the minimum at 0.3.

        >>> import jax, jax.numpy as jnp
        >>> met = evaluated(lambda s: (s - 0.3) ** 2, jnp.array([-4.0, 0.0, 4.0]), keep=1)
        >>> found = closing_in(lambda s: (s - 0.3) ** 2, met, jax.random.key(0), (1.0, 0.3, 0.1), 20, (-5.0, 5.0))
        >>> print(bool(found.losses[0] < 1e-3))
        True
    """
    keep = len(met.losses)
    for cloud, spread in enumerate(spreads):
        around = jax.tree.map(lambda x: x[jnp.arange(count) % keep], met.logs)
        moves = _moves(around, jax.random.fold_in(key, cloud), spread)
        new = evaluated(loss, jax.tree.map(lambda x, move: jnp.clip(x + move, *ends), around, moves), count)
        both = jax.tree.map(lambda old, fresh: jnp.concatenate([old, fresh]), met, new)
        met = _first(both, keep)
    return met


def evaluated(loss: Callable[[Any], jax.Array], logs: Any, keep: int) -> Points:
    """Compute the loss of each point, and return the points with the lowest losses, best first.

    A point consists of the logarithms of the strengths of one run. A point whose training diverges gets an infinite
    loss.

    Args:
        loss: Function that trains one run and returns its validation loss, a scalar. Its argument is one point: a tree
            like `logs`, without the leading axis.
        logs: All points, along a leading axis.
        keep: Number of points to return.
    """
    return _first(Points(logs, _ranked(jax.vmap(loss)(logs))), keep)


def _moves(logs: Any, key: jax.Array, spread: Number) -> Any:
    leaves, structure = jax.tree.flatten(logs)
    keys = jax.random.split(key, len(leaves))
    moves = [spread * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, moves)


def _first(points: Points, keep: int) -> Points:
    best = jnp.argsort(points.losses)[:keep]
    return jax.tree.map(lambda x: x[best], points)


def _ranked(losses: jax.Array) -> jax.Array:
    return jnp.where(jnp.isfinite(losses), losses, jnp.inf)
