"""Protocols of penalties, constraints and rules, and their optional attributes.

A penalty is a callable from an array of weights to one number. A constraint is a callable from an array of weights to
the nearest array of a set, in the same shape and dtype. A rule is a penalty or a constraint for the leaves that match a
pattern. A plain function is enough for each.

An object may have more attributes and methods, under the names that `Facts` lists. Missing ones have the default there.
So a class of your own needs no base class, only the attributes that apply to it:

- `axis`: axes of one group of weights, or None to infer them from the place of an array in its tree. A class that is
  not a dataclass also needs `with_axis`.
- `prox(w, step)` of a penalty (`Proximable`), for `jaxreg.proximal` and similar transformations.
- `lmo(direction)` of a constraint (`LinearMinimizable`), for `jaxreg.steepest` and similar transformations.
- `matrix` if a group is a whole layer, and `joint` if it is all leaves together.
- For a constraint, the attributes that `jaxreg.Intersection` needs to find the nearest point.

The classes of this package derive from `Penalty` or `Constraint`. So each function can reject the other kind by name,
and type checkers infer the right type for a mapping of several rules.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._hyperparameters import Axis, Number

Tree = Any
"""A pytree of arrays: the parameters as the framework provides them."""

Limits = tuple[Number, Number]
"""A lower and an upper limit."""

Cost = jax.Array | np.ndarray
"""One number, in an array without axes. NumPy's type is included so that type checkers distinguish the two kinds."""


class Facts:
    """Optional attributes and methods of a rule, with the defaults of a function of one array.

    Attributes:
        axis: Axes of one group of weights; None if still to be filled in, () if every weight is its own group.
        matrix: The weights of a layer form one matrix or vector. A stack of layers is processed layer by layer.
        joint: The rule maps the list of all arrays that match its pattern to a list of arrays.
        convex: The set is convex, so that Dykstra's algorithm can combine it with others.
        box: The set contains all arrays within `bounds()`.
        cone: The projection keeps each weight or sets it to 0, depending only on order and sign. A ball can follow it.
        shell: The set contains all arrays whose groups have norms within `norm_limits(w)`.
        section: The set contains all arrays within `bounds()` whose groups have the sum `group_sum()`.
        ball: The set is a ball around 0 of a norm that does not depend on signs and order. A cone can come before it.
        rate: Share of the way to the set that one call goes.
    """

    axis: Axis = ()
    matrix: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    convex: ClassVar[bool] = True
    box: ClassVar[bool] = False
    cone: ClassVar[bool] = False
    shell: ClassVar[bool] = False
    section: ClassVar[bool] = False
    ball: ClassVar[bool] = False
    rate: Number = 1.0

    def with_axis(self, axis: Axis) -> Any:
        """Return the same rule for groups over `axis`."""
        return dataclasses.replace(self, axis=axis)  # type: ignore[type-var]

    def sets(self) -> tuple[Any, ...]:
        """Return the constraints that the set is the intersection of; empty if it is a single constraint."""
        return ()

    def whole_way(self) -> Any:
        """Return the same constraint with rate 1, which reaches its set in one call."""
        return self

    def bounds(self) -> Limits | None:
        """Return the bounds on every weight of the set."""
        return None

    def norm_limits(self, w: jax.Array) -> Limits | None:
        """Return the limits on the norms of the groups of `w`."""
        return None

    def operator_bound(self, places: int) -> Number | None:
        """Return an upper bound on the operator norm of a layer whose window has `places` places, 1 if it is dense."""
        return None

    def group_sum(self) -> Number | None:
        """Return the sum that every group of the set has."""
        return None

    def non_negative(self) -> Any:
        """Return the constraint on the non-negative points of the set, if its projection has a closed form."""
        return None

    def needs_order(self) -> bool:
        """Return whether the rule needs the order of real numbers, so that complex weights are rejected."""
        return False

    def wrapped_rule(self) -> Any:
        """Return the wrapped rule, if this is a wrapper. It has a `prox` or `lmo` if the wrapped rule has."""
        return None

    def map_rules(self, function: Callable[[Any], Any]) -> Any:
        """Apply `function` to each wrapped rule and return the new wrapper."""
        return self


class _Rule(Facts):
    """A rule of this package, which Keras can call on its variables and save with a layer."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" in vars(cls):
            cls.__call__ = _of_arrays(vars(cls)["__call__"])  # type: ignore[method-assign]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments of the rule, for the configuration of a Keras layer.

        Raises:
            TypeError: If an argument is a schedule or another rule.
        """
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        for name, value in config.items():
            if any(map(callable, jax.tree.leaves(value, is_leaf=callable))):
                raise TypeError(
                    f"{self!r} can't be saved with a Keras layer, because its {name} holds a schedule or a rule; "
                    "expected numbers. Save only the weights, or wrap the rule in a function and pass that function in "
                    "custom_objects"
                )
            if isinstance(value, np.ndarray | np.generic | jax.Array):
                config[name] = np.asarray(value).tolist()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create the rule from the result of `get_config`."""
        lists = {name: value for name, value in config.items() if isinstance(value, list)}
        return cls(**config | {name: tuple(v) if name == "axis" else np.asarray(v) for name, v in lists.items()})


def _of_arrays(call: Callable[..., Any]) -> Callable[..., Any]:
    # Keras and NNX pass variables, which JAX reads as arrays.
    @wraps(call)
    def on_array(self: Any, w: Any) -> Any:
        return call(self, jnp.asarray(w) if hasattr(w, "__jax_array__") else w)

    return on_array


class Penalty(_Rule):
    """Base class of penalties: callables from an array of weights to its cost, one number."""

    def __call__(self, w: jax.Array, /) -> Cost:
        """Return the cost of `w`."""
        raise NotImplementedError


class Constraint(_Rule):
    """Base class of constraints: callables from an array of weights to the nearest array of a set."""

    def __call__(self, w: jax.Array, /) -> jax.Array:
        """Return the nearest array in the set."""
        raise NotImplementedError


@runtime_checkable
class Proximable(Protocol):
    """A penalty with a proximal step: argmin_z penalty(z) + Σ (z - w)² / (2 step)."""

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step from `w`. `step` is one number, or an array with one value per weight."""


@runtime_checkable
class LinearMinimizable(Protocol):
    """A constraint on a bounded set with a linear minimisation oracle: argmin of ⟨direction, z⟩ over z in the set."""

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a point z of the set that minimises ⟨direction, z⟩."""


@runtime_checkable
class DualBounded(Protocol):
    """A convex penalty that can minimise itself plus a linear function, from which `jaxreg.solve` computes its gap."""

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the minimum of ⟨slope, u⟩ + penalty(u) over u with penalty(u) ≤ `budget`, or a lower bound of it."""


Rule = Callable[[jax.Array], Any]
"""A penalty, a constraint, or any function of one array of weights."""

# The key of a `Mapping` is invariant to type checkers: {KERNELS: …, "output/.*": …} has keys `Kind | str`, not `str`.
Rules = Mapping[Any, Rule] | Rule
"""Rules by path pattern, {pattern: rule}, or one rule for all kernels."""

PenaltyRules = Mapping[Any, Callable[[jax.Array], Cost | float]] | Callable[[jax.Array], Cost | float]
"""Penalties by path pattern, or one for all kernels."""

ConstraintRules = Mapping[Any, Callable[[jax.Array], jax.Array]] | Callable[[jax.Array], jax.Array]
"""Constraints by path pattern, or one for all kernels."""


@jax.tree_util.register_static
class Opaque(Facts):
    """A wrapper of a callable that derives from neither class, with its attributes or the defaults, without leaves."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        # A function around a rule, such as `jax.vmap` returns, has copies of attributes that are for other arrays.
        if not hasattr(rule, "__wrapped__"):
            names = [name for name in vars(Facts) if not name.startswith("_") and name != "with_axis"]
            vars(self).update({name: getattr(rule, name) for name in names if hasattr(rule, name)})

    def __call__(self, w: jax.Array) -> Any:
        """Call the rule."""
        return self.rule(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of the rule."""
        return self.rule.prox(w, step)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the point z of the rule's set that minimises ⟨direction, z⟩."""
        return self.rule.lmo(direction)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the minimum of the rule plus a linear function."""
        return self.rule.linear_minimum(slope, budget)

    def with_axis(self, axis: Axis) -> Any:
        """Return the rule for groups over `axis`, by its own `with_axis` or as a dataclass."""
        own = hasattr(self.rule, "with_axis")
        return self.rule.with_axis(axis) if own else dataclasses.replace(self.rule, axis=axis)

    def map_rules(self, function: Callable[[Any], Any]) -> Any:
        """Return the rule."""
        return self.rule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.rule == other.rule

    def __hash__(self) -> int:
        return hash(self.rule)

    def __repr__(self) -> str:
        return repr(self.rule)


def facts(rule: Any) -> Facts:
    """Return a rule with all attributes, defaults included. Rules are always read through this function."""
    return rule if isinstance(rule, Facts) else Opaque(rule)


def has_groups(rule: Any) -> bool:
    """Return whether a rule works on groups of weights, with given axes or axes still to be filled in."""
    axis = facts(rule).axis
    return not isinstance(axis, tuple | list) or len(axis) > 0


def as_node(rule: Any) -> Any:
    """Return a rule that a pytree can hold. A bare callable in a pytree would count as a schedule."""
    return Opaque(rule) if jax.tree_util.all_leaves([rule]) else rule


def innermost(rule: Any) -> Any:
    """Return the innermost wrapped rule, which decides whether there is a `prox` or an `lmo`."""
    inside = rule.rule if isinstance(rule, Opaque) else facts(rule).wrapped_rule()
    return rule if inside is None else innermost(inside)


def refuse_other(rule: object, expected: type[Penalty] | type[Constraint], what: str, instead: str) -> None:
    """Raise if a constraint was passed as a penalty, or the reverse. `instead` says where it belongs."""
    other = Penalty if expected is Constraint else Constraint
    if isinstance(rule, other):
        raise TypeError(
            f"{what} is {rule!r}, a {_noun(other)}; expected a {_noun(expected)}. Use a {_noun(other)} in {instead}"
        )


def _noun(role: type[Penalty] | type[Constraint]) -> str:
    return role.__name__.lower()
