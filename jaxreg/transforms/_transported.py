"""Momentum that moves along with the weights on a curved set, such as a sphere."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg._precision import wide
from jaxreg._protocols import Constraint, ConstraintRules, Tree, facts
from jaxreg.rules._evaluate import at_rule, grouped
from jaxreg.rules._matching import assign, refuse_others
from jaxreg.transforms._base import Link, Watch, leaves_like, refuse_single_weights, require_params


class TransportState(NamedTuple):
    """State of `transported_momentum`: number of updates, state of the inner transformation, and last weights.

    Args:
        count: Number of updates so far, at which schedules are evaluated.
        inner: State of the inner transformation.
        last: Weights at the last update. The momentum is tangent to the set at these weights. A leaf without a rule is
            replaced by a single 0.
    """

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples
    inner: Any
    last: Tree


def transported_momentum(
    inner: optax.GradientTransformation, rules: ConstraintRules, moment: str = "mu"
) -> optax.GradientTransformationExtraArgs:
    """Keep the momentum of an optimiser tangent to a constraint set, such as a sphere, while the weights move.

    The momentum consists of directions that were tangent to the set at earlier weights. At the current weights, these
    directions are no longer tangent. So each update first moves the momentum m to the current weights w, from the
    weights w₋ at the previous update.

    On a sphere, m is moved by parallel transport along the great circle from w₋ to w. Parallel transport keeps the norm
    of m. Let a = w₋ / ‖w₋‖ and b = w / ‖w‖. The new momentum is m - ⟨m, b⟩ (a + b) / (1 + ⟨a, b⟩). For other sets, such
    as `Orthonormal`, m is projected onto the tangent space at w.

    Put `jaxreg.tangent` before this transformation in the chain, so that new gradients are tangent too. The second
    moments of Adam are not changed.

    Args:
        inner: Transformation that keeps a momentum, such as `optax.scale_by_adam()` or `optax.trace(0.9)`.
        rules: Constraints by path pattern, such as the rules of `jaxreg.initial_spheres`.
        moment: Name of the field with the momentum in the state of `inner`: "mu" for Adam, Lion and Muon, "trace" for
            `optax.trace`, or "ema" for `optax.ema`.

    Returns:
        A gradient transformation. Its state contains a copy of the weights that have a rule. Its `update` needs
        `params`.

    Raises:
        ValueError: At `init`, if the state of `inner` has no field `moment`, a pattern matches no leaf, or two patterns
            of equal precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule acts on single weights, such as `Box`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params, sphere = {"kernel": jnp.array([[1.0], [0.0]])}, {"kernel": jr.FrobeniusSphere(1.0)}
        >>> tx = jr.transported_momentum(optax.trace(0.9), sphere, moment="trace")
        >>> _, state = tx.update({"kernel": jnp.array([[0.0], [1.0]])}, tx.init(params), params)
        >>> turned = {"kernel": jnp.array([[0.6], [0.8]])}
        >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 1))}, state, turned)
        >>> print(np.asarray(updates["kernel"]).ravel().round(4))
        [-0.72  0.54]

    Reference:
        Cho and Lee, Riemannian approach to batch normalization, 2017; Bécigneul and Ganea, Riemannian adaptive
        optimization methods, 2019.
    """
    refuse_others(rules, Constraint, "transported_momentum", "jaxreg.penalize, jaxreg.decay or jaxreg.proximal")
    link = Link("transported_momentum", rules)
    inside = optax.with_extra_args_support(inner)

    def init(params: Tree) -> TransportState:
        state = inside.init(params)
        if optax.tree.get(state, moment, filtering=_is_field) is None:
            raise ValueError(
                f"jaxreg.transported_momentum: the state of the inner transformation has no field {moment!r}; expected "
                'the name of the momentum in this state, such as moment="mu" for optax.scale_by_adam, or '
                'moment="trace" for optax.trace'
            )
        last = [
            jnp.zeros(()) if rule is None else jnp.array(leaf.array, copy=True) for leaf, rule in assign(params, rules)
        ]
        return TransportState(jnp.zeros((), jnp.int32), state, jax.tree.unflatten(jax.tree.structure(params), last))

    def update(
        updates: Tree, state: TransportState, params: Tree | None = None, **extra: Any
    ) -> tuple[Tree, TransportState]:
        require_params(params, "transported_momentum")
        before, last = state.inner, state.last
        if not Watch.leaves_out(link):
            momenta = optax.tree.get(before, moment, filtering=_is_field)
            momenta, last = _transported(momenta, last, params, rules, state.count)
            before = optax.tree.set(before, _is_field, **{moment: momenta})
        made, after = inside.update(updates, before, params, **extra)
        return made, TransportState(optax.safe_increment(state.count), after, last)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_field(path: tuple[Any, ...], _: Any) -> bool:
    # A parameter may have the name of the field.
    return isinstance(path[-1], optax.tree_utils.NamedTupleKey)


def _transported(momenta: Tree, last: Tree, params: Tree, rules: ConstraintRules, count: jax.Array) -> tuple[Any, Any]:
    # The momenta at `params`, and the weights for the next call.
    parts, origins = leaves_like(params, momenta), leaves_like(params, last)
    for rule, places, leaves in grouped(params, rules):
        refuse_single_weights(rule, leaves[0], "transported_momentum")
        before, moved = ([wide(jnp.asarray(of[i])) for i in places] for of in (origins, parts))
        after = [wide(leaf.array) for leaf in leaves]
        along = facts(at_rule(rule, count)).transported
        ends = along(before, after, moved) if facts(rule).joint else [along(before[0], after[0], moved[0])]
        for place, leaf, end in zip(places, leaves, ends, strict=True):
            parts[place] = end.astype(parts[place].dtype)
            origins[place] = leaf.array
    structure = jax.tree.structure(params)
    return jax.tree.unflatten(structure, parts), jax.tree.unflatten(structure, origins)
