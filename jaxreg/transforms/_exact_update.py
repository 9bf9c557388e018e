"""Compute the update for which `params + update` rounds to the projected point."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._complex import from_pairs, to_pairs
from jaxreg._precision import beside
from jaxreg._protocols import facts
from jaxreg.constraints._bounds import clip


def landing(start: jax.Array, goal: jax.Array, dtype: Any, rule: Any = None) -> jax.Array:
    """Return the step in `dtype` for which start + step rounds to `goal`, or to its neighbour on the side of 0.

    A step in this dtype that reaches the goal exactly is returned if there is one. Otherwise the sum may end an ulp off
    the goal. Then a step that is one ulp larger or smaller may reach it. If it does not, the step that ends nearer
    to 0 is returned, so that the end stays in any set closed under shrinking. Bounds take precedence. Both steps miss
    the bounds only if the start is so far out that its ulp is wider than the bounds. Then the next update reaches them.

    Args:
        start: Current weights.
        goal: Weights to reach, in the same shape and dtype.
        dtype: Dtype of the step.
        rule: Constraint that the goal satisfies, with schedules evaluated. If it has `bounds`, a step that ends within
            them is preferred.
    """
    if jnp.iscomplexobj(start):
        pairs = to_pairs(start), to_pairs(goal)
        return from_pairs(landing(*pairs, pairs[0].dtype)).astype(dtype)
    exact = jnp.promote_types(start.dtype, dtype)
    step = (goal.astype(exact) - start.astype(exact)).astype(dtype)
    end = (start + step).astype(start.dtype)
    other = beside(step, jnp.where(end < goal, jnp.inf, -jnp.inf).astype(dtype))
    other_end = (start + other).astype(start.dtype)
    better = (other_end == goal) | (jnp.abs(end) > jnp.abs(goal))
    if bounds := facts(rule).bounds():
        inside, other_inside = (clip(w, *bounds) == w for w in (end, other_end))
        better = jnp.where(inside == other_inside, better, other_inside)
    return jnp.where((end != goal) & better, other, step)
