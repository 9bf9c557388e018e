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

        `value` is the penalty of the initial weights.
        """

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the upper bound on a penalty after update number `step`, and the new state of this `Bound`.

        `bound` is the bound before the update, and `memory` is the state before the update. `value` is the penalty
        after the update. The first update has the number 1.
        """


@hyperparameters
class FixedBound:
    """Upper bound κ = `value` on the penalty R of each leaf. The bound does not change during training.

    Pass a `FixedBound` to `jaxreg.bounded`.

    Args:
        value: Non-negative number: a float or an array. It limits the penalty of an entire leaf.

    Example:
        `jaxreg.bounded` calls `start` with the penalty of the initial weights, here 9. The first result is κ.

        >>> import jaxreg as jr
        >>> print(jr.FixedBound(4.0).start(9.0)[0])
        4.0
    """

    value: Number

    def __post_init__(self) -> None:
        check(self, "value", "[0, inf)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound κ, which is the field `value`, and the state, which is always ().

        The argument `value` is the penalty of the initial weights. It sets only the dtype of κ.
        """
        return jnp.asarray(self.value, jnp.result_type(value, float)), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return `bound` and the state `memory`, both unchanged.

        The arguments `value` (the penalty after the update) and `step` (the number of the update) are not used.
        """
        return bound, memory


@hyperparameters
class InitialBound:
    """Upper bound κ on the penalty R, as a multiple of R at the initial weights w₀: κ = `factor` · R(w₀).

    Pass an `InitialBound` to `jaxreg.bounded`. Each leaf gets its own bound, which does not change during training.

    Args:
        factor: Non-negative number: a float or an array.

    Example:
        `jaxreg.bounded` calls `start` with the initial penalty R(w₀), here 8. The first result is κ.

        >>> import jaxreg as jr
        >>> print(jr.InitialBound(0.5).start(8.0)[0])
        4.0
    """

    factor: Number = 1.0

    def __post_init__(self) -> None:
        check(self, "factor", "[0, inf)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound κ = `factor` · `value`, and the state, which is always ().

        `value` is the penalty of the initial weights.
        """
        return jnp.asarray(self.factor * value, jnp.result_type(value, float)), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return `bound` and the state `memory`, both unchanged.

        The arguments `value` (the penalty after the update) and `step` (the number of the update) are not used.
        """
        return bound, memory


@hyperparameters
class WarmBound:
    """Upper bound κ on the penalty R, set once to the value of R after the first `steps` updates.

    Before that, κ is infinite. Afterwards, κ does not change any more. Pass a `WarmBound` to `jaxreg.bounded`.

    Args:
        steps: Number of updates of the warm-up, an integer of at least 1: a number or an array.

    Example:
        `jaxreg.bounded` calls `later` after each update, with the old bound, the old state, the penalty and the number
        of the update. Here, update 3 ends the warm-up. So the penalty 2.5 becomes the bound.

        >>> import jaxreg as jr
        >>> print(jr.WarmBound(3).later(float("inf"), (), 2.5, 3)[0])
        2.5
    """

    steps: Number

    def __post_init__(self) -> None:
        check(self, "steps", "[1, inf)")
        _refuse_fractions(self, "steps")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return an infinite bound κ, and the state, which is always ().

        `value` is the penalty of the initial weights. It sets only the dtype of κ.
        """
        return jnp.full_like(jnp.asarray(value), jnp.inf), ()

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound κ after update number `step`, and the unchanged state `memory`.

        If `step` equals the field `steps`, κ is `value`, the penalty after this update. Otherwise, κ is the old
        `bound`.
        """
        return jnp.where(step == self.steps, value, bound), memory


@hyperparameters
class InflectionBound:
    """Upper bound κ on the penalty R, set to R(w) as soon as the growth of the running mean of R(w) slows down.

    At the start, κ is infinite. R(w) is measured once per `every` updates, and enters a running mean. The increase of
    the running mean at a measurement is compared with its increase at the previous measurement. At the first increase
    that is smaller than the previous one, κ is set to R(w). Afterwards, κ does not change any more.

    The comparisons start at the fourth measurement, as in the code of Franke and others. In their code, the first
    measurement is averaged with a running mean of 0. Here, the first measurement itself becomes the running mean.

    Pass an `InflectionBound` to `jaxreg.bounded`.

    Args:
        every: Number of updates from one measurement to the next, an integer of at least 1: a number or an array.
        memory: Weight of the old running mean in the new running mean, in [0, 1).

    Example:
        `jaxreg.bounded` calls `start` with the penalty of the initial weights, and `later` after each update. With
        `memory=0.0`, the running mean is the newest penalty. It increases by 2, 3, 4 and 2, so κ becomes 12. The
        variable `memory` holds the state that `start` and `later` return.

        >>> import jax.numpy as jnp, jaxreg as jr
        >>> rule = jr.InflectionBound(every=1, memory=0.0)
        >>> bound, memory = rule.start(jnp.asarray(0.0))
        >>> for step, value in enumerate([1.0, 3.0, 6.0, 10.0, 12.0, 13.0], 1):
        ...     bound, memory = rule.later(bound, memory, jnp.asarray(value), step)
        >>> print(bound)
        12.0

    Reference:
        Franke, Hefenbrock, Koehler and Hutter, Improving deep learning optimization through constrained parameter
        regularization, 2024.
    """

    every: Number = 200
    memory: Number = 0.9

    def __post_init__(self) -> None:
        check(self, "every", "[1, inf)")
        _refuse_fractions(self, "every")
        check(self, "memory", "[0, 1)")

    def start(self, value: jax.Array) -> tuple[jax.Array, Any]:
        """Return an infinite bound κ, and the state: three zeros.

        The three numbers are the running mean of the penalty, its latest increase, and the number of measurements.
        `value` is the penalty of the initial weights. It sets only the dtype of κ and of the first two numbers.
        """
        zero = jnp.zeros_like(jnp.asarray(value))
        return jnp.full_like(zero, jnp.inf), (zero, zero, jnp.zeros((), jnp.int32))

    def later(self, bound: jax.Array, memory: Any, value: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """Return the bound κ after update number `step`, and the new state.

        `value` is the penalty after this update, `bound` is the old bound, and `memory` is the old state (see `start`).
        If `step` is not a multiple of `every`, the bound and the state stay as they are. Otherwise, the running mean
        is updated. If κ is infinite and the increase of the running mean is smaller than the previous one, κ becomes
        `value`. The first three measurements do not change κ.
        """
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

    Here μ is the multiplier of the leaf, w are its weights after the optimiser step, and n is the number of these
    weights. While the penalty is above the bound, μ grows. While the penalty is below the bound, μ falls. At μ = 0, the
    weights are not changed. If the optimiser is SGD with a small learning rate η, the Lagrange multiplier of the bound
    is μ / η.

    During training, the penalty may exceed the bound. When the training has converged and μ is 0, the penalty is at
    most κ. When it has converged and μ is above 0, R(w) equals κ between the optimiser step and update 2. Update 2 then
    lowers it below κ. With `L2(1.0)`, update 2 multiplies the weights by 1 - 2 μ. So the penalty of the returned
    weights is (1 - 2 μ)² · κ, which is about (1 - 4 μ) · κ.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. `L2(1.0)` gives a bound on ‖w‖².
        bound: Method that sets the bounds: `FixedBound`, `InitialBound`, `WarmBound` or `InflectionBound`.
        rate: Speed of the multiplier, above 0: a float or an array. If it is too high, μ oscillates.

    Returns:
        A gradient transformation. Its state is a `BoundedState` with the multipliers and bounds. Its `update` needs
        `params`.

    Raises:
        ValueError: If the rate is not above 0. At `init`, if a pattern matches no leaf, or two patterns of equal
            precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: If `bound` does not have the methods of a bound.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[0.3], [0.4]])}
        >>> tx = optax.chain(optax.sgd(1e-3), jr.bounded(jr.L2(1.0), jr.FixedBound(1.0), rate=1e-4))
        >>> def step(_, carry):  # one training step on the loss ‖w - (3, 4)‖² / 2
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
    refuse_class(bound, "jaxreg.bounded: bound")
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
