"""What penalties, constraints and rules are, and what they may say about themselves.

A penalty is a callable from an array of weights to one number. A constraint is a callable from an array of weights to
the nearest array of a set, in the same shape and dtype. A rule is either of them, for the leaves that a pattern names.
A plain function is enough for each.

An object may say more, by attributes and methods under the names that `Facts` lists. Whatever it leaves out has the
default there, so that a class of your own needs no base class, only what is true of it:

- `axis`, the axes of one group of weights; None if the place of an array in its tree is to decide. A class that is no
  dataclass also has `with_axis`.
- `prox(w, step)` of a penalty (`Proximable`), for `jaxreg.proximal` and its like; `lmo(direction)` of a constraint
  (`LinearMinimizable`), for `jaxreg.steepest` and its like.
- `matrix` and `joint`, if a group is a whole layer, or all leaves together.
- Of a constraint, what `jaxreg.Intersection` has to know to find the nearest point exactly, or at all.

Those of this package derive from `Penalty` or `Constraint`: so each function can refuse the other kind by name, and a
type checker gives a mapping of several a type that says which they are.
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
"""A pytree of arrays: the parameters as the framework hands them out."""

Limits = tuple[Number, Number]
"""A lower and an upper limit."""

Cost = jax.Array | np.ndarray
"""One number, in an array without axes. Ours are JAX's; NumPy's in the type sets a penalty apart from a constraint."""


class Facts:
    """What a rule may say about itself, with the defaults: those of a function that looks at one array.

    Attributes:
        axis: Axes of one group of weights; None if yet to be filled in, () if every weight is looked at for itself.
        matrix: All weights of a layer are one matrix or one vector. A stack of layers is taken layer by layer.
        joint: The rule takes the list of all arrays that its pattern names, and makes a list of them.
        convex: The set is convex, so that Dykstra's algorithm finds the nearest point of several.
        box: The set is all that lies within `bounds()`.
        cone: The projection keeps each weight or makes it 0, by order and sign alone: a ball can follow it.
        shell: The set is all whose groups have norms within `norm_limits(w)`.
        section: The set is all within `bounds()` whose groups have the sum `group_sum()`.
        ball: The set holds norms that neither signs nor order change, about 0: cones can go before it.
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
        """Return the constraints whose common points are the set, unless it is one of its own."""
        return ()

    def whole_way(self) -> Any:
        """Return the constraint that reaches its set in one call."""
        return self

    def bounds(self) -> Limits | None:
        """Return the bounds that every weight of the set obeys."""
        return None

    def norm_limits(self, w: jax.Array) -> Limits | None:
        """Return the limits on the norms of the groups of `w`."""
        return None

    def group_sum(self) -> Number | None:
        """Return the sum that every group of the set has."""
        return None

    def non_negative(self) -> Any:
        """Return the constraint to the points of the set without negative weights, if it has a closed form."""
        return None

    def needs_order(self) -> bool:
        """Return whether the rule needs the order of real numbers, and so has no meaning for complex weights."""
        return False

    def wrapped_rule(self) -> Any:
        """Return the rule inside, if this one changes what it sees: it has a `prox` or `lmo` if that one has."""
        return None

    def map_rules(self, function: Callable[[Any], Any]) -> Any:
        """Return the same with what `function` makes of each rule inside."""
        return self


class _Rule(Facts):
    """A rule of this package, which Keras can call on its variables and store with a layer."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" in vars(cls):
            cls.__call__ = _of_arrays(vars(cls)["__call__"])  # type: ignore[method-assign]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the rule, for the configuration of a Keras layer.

        Raises:
            TypeError: If an argument is a schedule or another rule.
        """
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        for name, value in config.items():
            if any(map(callable, jax.tree.leaves(value, is_leaf=callable))):
                raise TypeError(
                    f"{self!r} can't be stored with a Keras layer, for its {name} is more than numbers; expected a "
                    "rule of numbers: save the weights alone, or name it in custom_objects as a function"
                )
            if isinstance(value, np.ndarray | np.generic | jax.Array):
                config[name] = np.asarray(value).tolist()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make the rule from what `get_config` returned."""
        lists = {name: value for name, value in config.items() if isinstance(value, list)}
        return cls(**config | {name: tuple(v) if name == "axis" else np.asarray(v) for name, v in lists.items()})


def _of_arrays(call: Callable[..., Any]) -> Callable[..., Any]:
    # Keras and NNX hand over variables, which JAX reads as arrays.
    @wraps(call)
    def on_array(self: Any, w: Any) -> Any:
        return call(self, jnp.asarray(w) if hasattr(w, "__jax_array__") else w)

    return on_array


class Penalty(_Rule):
    """A callable from an array of weights to its cost, one number."""

    def __call__(self, w: jax.Array, /) -> Cost:
        """Return the cost of `w`."""
        raise NotImplementedError


class Constraint(_Rule):
    """A callable from an array of weights to the nearest array of a set."""

    def __call__(self, w: jax.Array, /) -> jax.Array:
        """Return the nearest array in the set."""
        raise NotImplementedError


@runtime_checkable
class Proximable(Protocol):
    """A penalty with a proximal step: argmin_z penalty(z) + Σ (z - w)² / (2 step)."""

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step from `w`; `step` is one number, or an array of one per weight."""


@runtime_checkable
class LinearMinimizable(Protocol):
    """A constraint to a bounded set with a linear minimisation oracle: argmin_z ⟨direction, z⟩ over the set."""

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a point z of the set that minimises ⟨direction, z⟩."""


@runtime_checkable
class DualBounded(Protocol):
    """A convex penalty with the minimum of itself plus a linear function: what `jaxreg.solve` takes its gap from."""

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return min over u of ⟨slope, u⟩ + penalty(u), among u whose penalty is at most `budget`; or a lower bound."""


Rule = Callable[[jax.Array], Any]
"""A penalty, a constraint, or any function of one array of weights."""

# The key of a `Mapping` is invariant to type checkers: {KERNELS: …, "output/.*": …} has keys `Kind | str`, not `str`.
Rules = Mapping[Any, Rule] | Rule
"""Rules by pattern, {pattern: object}, or one object for all kernels."""

PenaltyRules = Mapping[Any, Callable[[jax.Array], Cost | float]] | Callable[[jax.Array], Cost | float]
"""Penalties by pattern, or one for all kernels."""

ConstraintRules = Mapping[Any, Callable[[jax.Array], jax.Array]] | Callable[[jax.Array], jax.Array]
"""Constraints by pattern, or one for all kernels."""


@jax.tree_util.register_static
class Opaque(Facts):
    """A callable that derives from neither class: its own attributes, else the defaults, and no leaves in a pytree."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        # A function around a rule, as `jax.vmap` makes it, has copies of its attributes, which are for other arrays.
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
        """Return the farthest point of the rule's set."""
        return self.rule.lmo(direction)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the minimum of the rule plus a linear function."""
        return self.rule.linear_minimum(slope, budget)

    def with_axis(self, axis: Axis) -> Any:
        """Return the rule for groups over `axis`: by its own method, or as a dataclass."""
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
    """Return what a rule says about itself, defaults included; no other place looks for its attributes."""
    return rule if isinstance(rule, Facts) else Opaque(rule)


def has_groups(rule: Any) -> bool:
    """Return whether a rule looks at groups of weights, over axes that it has or leaves open."""
    axis = facts(rule).axis
    return not isinstance(axis, tuple | list) or len(axis) > 0


def as_node(rule: Any) -> Any:
    """Return a rule that a pytree can hold: a bare callable in one would be taken for a schedule."""
    return Opaque(rule) if jax.tree_util.all_leaves([rule]) else rule


def innermost(rule: Any) -> Any:
    """Return the rule inside all those that wrap another: the one to ask for a `prox` or an `lmo`."""
    inside = rule.rule if isinstance(rule, Opaque) else facts(rule).wrapped_rule()
    return rule if inside is None else innermost(inside)


def refuse_other(rule: object, expected: type[Penalty] | type[Constraint], what: str, instead: str) -> None:
    """Raise if a constraint was passed as a penalty, or the reverse. `instead` says where it belongs."""
    other = Penalty if expected is Constraint else Constraint
    if isinstance(rule, other):
        raise TypeError(
            f"{what} is {rule!r}, a {_noun(other)}; expected a {_noun(expected)} (a {_noun(other)} goes to {instead})"
        )


def _noun(role: type[Penalty] | type[Constraint]) -> str:
    return role.__name__.lower()
