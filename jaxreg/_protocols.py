"""Protocols of penalties, constraints and rules, and their optional attributes.

A penalty is a callable that maps an array of weights to one number. A constraint is a callable that maps an array of
weights to the nearest array of a set, with the same shape and dtype. A rule is a penalty or a constraint for the leaves
that match a pattern. Plain functions can be penalties and constraints.

A penalty or a constraint may also have the attributes and methods of `Facts`. If an attribute is missing, the default
in `Facts` is used. So your own class needs no base class. It only needs the attributes that apply to it:

- `axis`: axes of one group of weights. None infers them from the path and the shape of the weight array. A class that
  is not a dataclass also needs `with_axis`.
- `prox(w, step)` of a penalty (`Proximable`), for `jaxreg.proximal` and similar transformations.
- `lmo(direction)` of a constraint (`LinearMinimizable`), for `jaxreg.steepest` and similar transformations.
- `tangent(w, direction)` of a constraint, for `jaxreg.tangent`. Define it if a formula is cheaper than the derivative
  of the projection.
- `transported(before, after, moment)` of a constraint, for `jaxreg.transported_momentum`. The default is
  `tangent(after, moment)`.
- `matrix = True`, if one group contains all weights of a layer.
- `joint = True`, if one group contains all leaves that match the pattern.
- `convex`, `box`, `cone`, `shell`, `section` and `ball` of a constraint. `jaxreg.Intersection` uses them to choose how
  to compute the nearest point.

The classes of this package derive from `Penalty` or `Constraint`. So a function for constraints can reject penalties,
and a function for penalties can reject constraints. Type checkers can also infer the right type for a mapping of
several rules.
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

CLASS = "from_jaxreg"
"""Entry of a rule's Keras configuration with the name of its class."""

Cost = jax.Array | np.ndarray
"""One number, in an array without axes. NumPy's type lets type checkers distinguish penalties from constraints."""


class Facts:
    """Optional attributes and methods of a rule (a penalty or a constraint), with their default values.

    Attributes:
        axis: Axes of one group of weights. None means that the axes will be inferred from the tree. () means that every
            weight is its own group.
        matrix: True if the weights of a layer form one matrix or vector. A stack of layers is processed layer by layer.
        joint: True if the rule maps the list of all arrays that match its pattern to a list of arrays.
        convex: True if the set is convex. Dykstra's algorithm can combine convex sets.
        box: True if the set consists of all arrays within `bounds()`.
        cone: True if the projection keeps each weight or sets it to 0, and the choice depends only on the order and the
            signs of the weights. Projecting onto this set and then onto a `ball` gives the nearest point of their
            intersection.
        shell: True if the set consists of all arrays whose groups have norms within `norm_limits(w)`.
        section: True if the set consists of all arrays within `bounds()` whose groups have the sum `group_sum()`.
        ball: True if the set is a ball around 0, for a norm that does not depend on the signs and the order of the
            weights.
        rate: Share of the distance to the set that one call covers.
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
        """Return a copy of the rule with the given `axis`."""
        return dataclasses.replace(self, axis=axis)  # type: ignore[type-var]

    def sets(self) -> tuple[Any, ...]:
        """Return the parts of an intersection of constraints, or an empty tuple for any other rule."""
        return ()

    def whole_way(self) -> Any:
        """Return the constraint with `rate=1`. One call then moves the weights all the way to the limits."""
        return self

    def exact_rule(self) -> Any:
        """Return the constraint that moves weights exactly to the nearest point of the set. Default: `whole_way()`."""
        return self.whole_way()

    def bounds(self) -> Limits | None:
        """Return the lower and the upper bound of every weight, or None if the rule has no bounds."""
        return None

    def norm_limits(self, w: jax.Array) -> Limits | None:
        """Return the lower and the upper limit on the norm of each group of `w`, or None if the rule has no limits."""
        return None

    def operator_bound(self, places: int) -> Number | None:
        """Return an upper bound on the operator norm of a layer that satisfies the constraint, or None if unknown.

        `places` is the number of positions in the window of a convolution, and 1 for a dense layer.
        """
        return None

    def group_sum(self) -> Number | None:
        """Return the sum that every group of weights must have, or None if the rule fixes no sum."""
        return None

    def weighted_sum(self) -> tuple[Number, Number] | None:
        """Return (normal, offset) if the constraint is ⟨normal, w_j⟩ = offset for every group w_j, else None.

        `w_j` are the groups of weights.
        """
        return None

    def equations(self) -> tuple[Number, Number] | None:
        """Return the linear equations that every group of weights must satisfy, or None if the rule has no equations.

        The result is (coefficients, right sides). The coefficients are a vector, or a matrix with one row per equation.
        A single column means that all weights of a group have the same coefficient.
        """
        total, weighted = self.group_sum(), self.weighted_sum()
        if total is not None:
            return np.ones(1), total
        # A normal in the shape of the weights has other coefficients in every group.
        return weighted if weighted is not None and np.ndim(weighted[0]) == 1 else None

    def tangent(self, w: Any, direction: Any) -> Any:
        """Return the component of `direction` that is tangent to the constraint set at the point `w`."""
        return jax.jvp(self, (w,), (direction,))[1]  # type: ignore[arg-type]

    def transported(self, before: Any, after: Any, moment: Any) -> Any:
        """Move the momentum `moment`, a tangent vector at `before`, to the tangent space at `after`.

        The default is the part of `moment` that is tangent to the set at `after`.
        """
        return self.tangent(after, moment)

    def tangent_lmo(self, w: Any, direction: Any) -> Any:
        """Minimise ⟨direction, z⟩ over the tangent vectors z at `w` with a norm of at most the radius of the sphere.

        The method applies to constraints to a sphere. The default is `lmo` of the tangent part of `direction`. This
        default is right for spheres of Euclidean norms.
        """
        return self.lmo(self.tangent(w, direction))  # type: ignore[attr-defined]

    def non_negative(self) -> Any:
        """Return this constraint intersected with w ≥ 0, or None if the projection has no closed form."""
        return None

    def needs_order(self) -> bool:
        """Return whether the rule rejects complex weights."""
        return False

    def wrapped_rule(self) -> Any:
        """Return the wrapped rule if this object is a wrapper, else None.

        The `prox` and `lmo` of a wrapper can be used only if the wrapped rule has these methods.
        """
        return None

    def map_rules(self, function: Callable[[Any], Any]) -> Any:
        """Return a new wrapper with `function(rule)` for each wrapped rule. Return a rule that wraps none unchanged."""
        return self


class _Rule(Facts):
    """Base class of the rules of this package. Keras can call them on its variables and save them with a layer."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" in vars(cls):
            cls.__call__ = _of_arrays(vars(cls)["__call__"])  # type: ignore[method-assign]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments of the rule, for the configuration of a Keras layer.

        The entry `from_jaxreg` is the name of the class. Keras has classes of the same names. They reject this entry.

        Raises:
            TypeError: If an argument is a schedule or another rule.
        """
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        if public_name(type(self)).startswith("jaxreg."):  # Keras has no class with the name of a subclass
            config[CLASS] = public_name(type(self))
        for name, value in config.items():
            if any(map(callable, jax.tree.leaves(value, is_leaf=callable))):
                raise TypeError(
                    f"{self!r} can't be saved with a Keras layer, because its argument `{name}` contains a schedule "
                    "or a rule; expected only numbers. Save only the weights of the model. Or wrap the rule in a "
                    "function, pass this function to the layer, and list it in custom_objects when you load the model"
                )
            if isinstance(value, np.ndarray | np.generic | jax.Array):
                config[name] = np.asarray(value).tolist()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create a rule from the dict that `get_config` returned.

        Raises:
            TypeError: If the dict is from another class, such as `jaxreg.keras.MaxNorm` instead of `jaxreg.MaxNorm`.
        """
        config = dict(config)
        saved = config.pop(CLASS, public_name(cls))
        if saved != public_name(cls) and public_name(cls).startswith("jaxreg."):
            raise TypeError(
                f"the rule was saved as {saved}, but it is loaded as {public_name(cls)}. Use {saved} in custom_objects"
            )
        lists = {name: value for name, value in config.items() if isinstance(value, list)}
        return cls(**config | {name: tuple(v) if name == "axis" else np.asarray(v) for name, v in lists.items()})


def public_name(cls: type) -> str:
    """Return the path by which users import a class, such as "jaxreg.keras.UnitNorm"."""
    return f"{cls.__module__.partition('._')[0]}.{cls.__qualname__}"


def _of_arrays(call: Callable[..., Any]) -> Callable[..., Any]:
    # Keras and NNX pass variables, which JAX reads as arrays.
    @wraps(call)
    def on_array(self: Any, w: Any) -> Any:
        return call(self, jnp.asarray(w) if hasattr(w, "__jax_array__") else w)

    return on_array


class Penalty(_Rule):
    """Base class of penalties. A penalty maps an array of weights to its cost, which is one number."""

    def __call__(self, w: jax.Array, /) -> Cost:
        """Return the cost of `w`."""
        raise NotImplementedError


class Constraint(_Rule):
    """Base class of constraints. A constraint maps an array of weights to the nearest array that satisfies it."""

    def __call__(self, w: jax.Array, /) -> jax.Array:
        """Return the nearest array in the set."""
        raise NotImplementedError


@runtime_checkable
class Proximable(Protocol):
    """A penalty with a method `prox`, which returns argmin_z penalty(z) + Σ (z - w)² / (2 · step)."""

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step from `w`. The step size `step` is one number, or one number per weight."""


@runtime_checkable
class LinearMinimizable(Protocol):
    """A constraint on a bounded set. Its method `lmo` minimises the inner product ⟨direction, z⟩ over the set."""

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set."""


@runtime_checkable
class DualBounded(Protocol):
    """A convex penalty with a method `linear_minimum`, which returns the minimum of penalty(u) + ⟨slope, u⟩ over u.

    `jaxreg.solve` computes its duality gap from this minimum.
    """

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ subject to penalty(u) ≤ `budget`.

        The result may also be a lower bound on this minimum.
        """


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
    """Wrapper that lets any callable be used as a rule. JAX treats the wrapper as a pytree without leaves.

    The wrapper has all attributes of `Facts`. Attributes that the callable does not define have their defaults.
    """

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
        """Return the minimiser z of ⟨direction, z⟩ over the set of the rule."""
        return self.rule.lmo(direction)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all u with penalty(u) ≤ `budget`."""
        return self.rule.linear_minimum(slope, budget)

    def with_axis(self, axis: Axis) -> Any:
        """Return a copy of the rule with the given `axis`."""
        own = hasattr(self.rule, "with_axis")
        return self.rule.with_axis(axis) if own else dataclasses.replace(self.rule, axis=axis)

    def map_rules(self, function: Callable[[Any], Any]) -> Any:
        """Return the wrapped callable, which contains no other rules."""
        return self.rule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.rule == other.rule

    def __hash__(self) -> int:
        return hash(self.rule)

    def __repr__(self) -> str:
        return repr(self.rule)


def facts(rule: Any) -> Facts:
    """Return the rule itself if its class derives from `Facts`, else an `Opaque` that wraps the rule."""
    return rule if isinstance(rule, Facts) else Opaque(rule)


def has_groups(rule: Any) -> bool:
    """Return whether a rule works on groups of weights, such as all incoming weights of one unit."""
    axis = facts(rule).axis
    return not isinstance(axis, tuple | list) or len(axis) > 0


def as_node(rule: Any) -> Any:
    """Return the rule in a form that JAX accepts as a pytree node: a bare callable is wrapped in `Opaque`.

    A bare callable among the leaves of a pytree would count as a schedule.
    """
    return Opaque(rule) if jax.tree_util.all_leaves([rule]) else rule


def innermost(rule: Any) -> Any:
    """Return the rule inside all wrappers, such as the rule inside a `Reshaped`.

    A wrapper always has the methods `prox` and `lmo`. So check the rule inside to know whether they can be called.
    """
    inside = rule.rule if isinstance(rule, Opaque) else facts(rule).wrapped_rule()
    return rule if inside is None else innermost(inside)


def refuse_other(rule: object, expected: type[Penalty] | type[Constraint], what: str, instead: str) -> None:
    """Raise if a constraint was passed instead of a penalty, or a penalty instead of a constraint.

    In the error, `what` names the argument, and `instead` names the functions to which the rule can be passed.
    """
    other = Penalty if expected is Constraint else Constraint
    given = rule if isinstance(rule, type) else type(rule)
    if issubclass(given, other):
        shown = f"the class {given.__name__}" if given is rule else repr(rule)
        raise TypeError(
            f"{what} is {shown}, a {_noun(other)}; expected a {_noun(expected)}. Pass a {_noun(other)} to {instead}"
        )


def _noun(role: type[Penalty] | type[Constraint]) -> str:
    return role.__name__.lower()
