"""Bounds on the penalty of each leaf. A multiplier per leaf enforces the bound and adapts during training."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg._checks import check, check_number, refuse_class
from jaxreg._hyperparameters import Number, hyperparameters, known
from jaxreg._precision import wide
from jaxreg._protocols import PenaltyRules, Rule, Tree
from jaxreg.rules._evaluate import cost, penalty_gradient
from jaxreg.rules._matching import Leaf, assign
from jaxreg.transforms._base import after_update, map_updates, per_leaf, refuse_constraints, require_params
from jaxreg.transforms._exact_update import landing


class Bounded(NamedTuple):
    """State for one leaf: the multiplier μ, the bound κ (infinite until it is set) and the state of the `Bound`."""

    multiplier: jax.Array
    bound: jax.Array
    memory: Any = ()


class BoundedState(NamedTuple):
    """State of `bounded`: number of updates, and a dict from path to `Bounded` for the leaves that have a rule."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples
    leaves: Any


@runtime_checkable
class Bound(Protocol):
    """Interface for choosing the upper bound on a penalty, at the start or during training."""

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return the initial upper bound on a penalty (possibly infinite) and the initial state of this `Bound`.

        `value` is the initial penalty.
        """

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the upper bound on a penalty after an update, and the new state of this `Bound`.

        `value` is the penalty after update number `step`.
        """


@hyperparameters
class FixedBound:
    """Upper bound κ = `value` on the penalty R of each leaf.

    Args:
        value: Non-negative number: a float or an array. It limits the penalty of an entire leaf.

    Example:
        >>> import jaxreg as jr
        >>> print(jr.FixedBound(4.0).start(9.0)[0])
        4.0
    """

    value: Number

    def __post_init__(self) -> None:
        check(self, "value", "[0, inf)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return the fixed bound."""
        return jnp.asarray(self.value, jnp.result_type(value, float)), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound unchanged."""
        return bound, memory


@hyperparameters
class InitialBound:
    """Upper bound κ on the penalty R, as a multiple of its value at the initial weights w₀: κ = `factor` · R(w₀).

    Args:
        factor: Non-negative number: a float or an array.

    Example:
        >>> import jaxreg as jr
        >>> print(jr.InitialBound(0.5).start(8.0)[0])
        4.0
    """

    factor: Number = 1.0

    def __post_init__(self) -> None:
        check(self, "factor", "[0, inf)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return `factor` times the penalty of the initial weights."""
        return jnp.asarray(self.factor * value, jnp.result_type(value, float)), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound unchanged."""
        return bound, memory


@hyperparameters
class WarmBound:
    """Upper bound κ on the penalty R: infinite during the first `steps` updates, then the penalty after these updates.

    Args:
        steps: Number of updates of the warm-up, an integer of at least 1: a number or an array.

    Example:
        >>> import jaxreg as jr
        >>> print(jr.WarmBound(3).later(float("inf"), (), 2.5, 3)[0])
        2.5
    """

    steps: Number

    def __post_init__(self) -> None:
        check(self, "steps", "[1, inf)")
        _refuse_fractions(self, "steps")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return an infinite bound."""
        return jnp.full_like(jnp.asarray(value), jnp.inf), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the current penalty if the warm-up ends at this update. Otherwise, return the bound unchanged."""
        return jnp.where(step == self.steps, value, bound), memory


@hyperparameters
class InflectionBound:
    """Upper bound κ on the penalty R, set to R(w) as soon as the growth of the running mean of R(w) slows down.

    At the start, κ is infinite. R(w) is measured once per `every` updates, and enters a running mean. From the fourth
    measurement on, each increase of the running mean is compared with the increase before it. At the first increase
    that is smaller, κ is set to R(w).

    The running mean starts at the first measurement. In the paper it starts at 0 instead, so its growth slows down even
    for a constant penalty.

    Args:
        every: Number of updates from one measurement to the next, an integer of at least 1: a number or an array.
        memory: Weight of the old running mean in the new running mean, in [0, 1).

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> rule = jr.InflectionBound(every=1, memory=0.0)
        >>> bound, memory = rule.start(jnp.asarray(0.0))
        >>> for step, value in enumerate([1.0, 3.0, 6.0, 10.0, 12.0, 13.0], 1):
        ...     bound, memory = rule.later(bound, memory, jnp.asarray(value), step)
        >>> print(bound)
        12.0
    """

    every: Number = 200
    memory: Number = 0.9

    def __post_init__(self) -> None:
        check(self, "every", "[1, inf)")
        _refuse_fractions(self, "every")
        check(self, "memory", "[0, 1)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return an infinite bound, and a state with running mean 0, growth 0 and no measurements."""
        zero = jnp.zeros_like(jnp.asarray(value))
        return jnp.full_like(zero, jnp.inf), (zero, zero, jnp.zeros((), jnp.int32))

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the penalty as the new bound once the growth of its running mean slows down, else the old bound."""
        mean, growth, seen = memory
        looks = step % self.every == 0
        now = jnp.where(seen == 0, value, self.memory * mean + (1 - self.memory) * value).astype(mean.dtype)
        grown = now - mean
        found = looks & (seen >= 3) & (growth > grown) & jnp.isinf(bound)
        after = (now, grown, seen + 1)
        kept = tuple(jnp.where(looks, new, old) for new, old in zip(after, memory, strict=True))
        return jnp.where(found, value, bound), kept


def _refuse_fractions(owner: object, name: str) -> None:
    # Updates are counted, so a fractional number would never be reached.
    value = getattr(owner, name)
    if known(value) and np.any(np.asarray(value) % 1 != 0):
        raise ValueError(f"{type(owner).__name__}: {name} is {value}; expected a whole number of at least 1")


def bounded(rules: PenaltyRules, bound: Bound, rate: Number = 1.0) -> optax.GradientTransformation:
    """Keep the penalty R of each leaf under a bound κ, by gradient steps on R with a multiplier μ.

    This is constrained parameter regularisation (CPR). Put the transformation after the learning rate in the chain. Two
    updates follow each optimiser step:

    1. μ ← max(0, μ + (rate / n) · (R(w) - κ))
    2. w ← w - μ ∇R(w)

    Here μ is the multiplier of the leaf, w are the weights of the leaf after the optimiser step, and n is the number of
    these weights. While the penalty is above the bound, μ grows. While the penalty is below the bound, μ falls. At
    μ = 0, the weights are not changed. After SGD with a small learning rate η, the Lagrange multiplier of the bound is
    μ / η.

    The penalty meets the bound at the end of training, but may exceed the bound before. R(w) is measured before μ ∇R(w)
    is subtracted. So with `L2(1.0)`, the final penalty is about (1 - 4 μ) times the bound.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. `L2(1.0)` gives a bound on ‖w‖².
        bound: Method that sets the bounds: `FixedBound`, `InitialBound`, `WarmBound` or `InflectionBound`.
        rate: Speed of the multiplier, above 0: a float or an array. If it is too high, μ oscillates.

    Returns:
        A gradient transformation. Its state is a `BoundedState` with the multipliers and bounds. Its `update` needs
        `params`.

    Raises:
        ValueError: If the rate is not above 0. At `init`, if a pattern matches no leaf or two patterns match one leaf.
            At `update`, if `params` is missing.
        TypeError: If `bound` does not have the methods of a bound.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[0.3], [0.4]])}
        >>> tx = optax.chain(optax.sgd(1e-3), jr.bounded(jr.L2(1.0), jr.FixedBound(1.0), rate=1e-4))
        >>> def step(_, carry):  # of the loss ‖w - (3, 4)‖² / 2
        ...     params, state = carry
        ...     updates, state = tx.update({"kernel": params["kernel"] - jnp.array([[3.0], [4.0]])}, state, params)
        ...     return optax.apply_updates(params, updates), state
        >>> params, state = jax.lax.fori_loop(0, 10_000, step, (params, tx.init(params)))
        >>> multiplier = state[1].leaves["kernel"].multiplier / 1e-3
        >>> print(f"norm {jnp.linalg.norm(params['kernel']):.2f}, multiplier {multiplier:.2f}")
        norm 1.00, multiplier 2.00

    Reference:
        Franke, Hefenbrock, Koehler and Hutter, Improving deep learning optimization through constrained parameter
        regularization, 2024.
    """
    refuse_constraints(rules, "bounded")
    refuse_class(bound, "jaxreg.bounded")
    check_number(rate, "jaxreg.bounded: rate", "(0, inf)")
    if not isinstance(bound, Bound):
        raise TypeError(
            f"jaxreg.bounded: bound is {bound!r}; expected FixedBound(value), InitialBound(), WarmBound(steps) or "
            "InflectionBound()"
        )

    def init(params: Tree) -> BoundedState:
        count = jnp.zeros((), jnp.int32)
        if type(params).__name__ == "_ParamsPlaceholder":  # from optax.tree_map_params
            return BoundedState(count, jnp.zeros(()))
        found = {}
        for leaf, rule in assign(params, rules):
            if rule is not None:
                value = cost(rule, leaf, count)
                found[leaf.path] = Bounded(jnp.zeros_like(value), *bound.start(value))
        return BoundedState(count, found)

    def update(updates: Tree, state: BoundedState, params: Tree | None = None) -> tuple[Tree, BoundedState]:
        require_params(params, "bounded")
        found = dict(state.leaves)

        def change(rule: Rule, leaf: Leaf, step: jax.Array, count: jax.Array) -> jax.Array:
            there = leaf._replace(array=after_update(leaf, step))
            value, before = cost(rule, there, count), found[leaf.path]
            limit, memory = bound.later(before.bound, before.memory, value, count + 1)
            grown = before.multiplier + rate / max(leaf.array.size, 1) * (value - limit)
            multiplier = jnp.maximum(grown, 0).astype(before.multiplier.dtype)
            found[leaf.path] = Bounded(multiplier, limit, memory)
            goal = wide(there.array) - multiplier * wide(penalty_gradient(rule, there, count))
            return landing(leaf.array, goal.astype(leaf.array.dtype), step.dtype)

        made = map_updates(updates, params, rules, state.count, per_leaf(change))
        return made, BoundedState(optax.safe_increment(state.count), found)

    return optax.GradientTransformation(init, update)
