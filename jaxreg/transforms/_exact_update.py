"""From where the weights are to where they must land: the step that floating-point addition takes there."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._complex import from_pairs, to_pairs
from jaxreg._precision import beside
from jaxreg._protocols import facts
from jaxreg.constraints._bounds import clip


def landing(start: jax.Array, goal: jax.Array, dtype: Any, rule: Any = None) -> jax.Array:
    """Return the step, in `dtype`, for which start + step lands on `goal`, or beside it on the side of 0.

    If any step in this dtype leads to the goal, this one does. Elsewhere the sum rounds and may end an ulp off the
    goal. Where it does, one ulp more or less of the step may end on it; if neither does, the one that ends on the
    side of 0 is taken, still inside every set that contains w with any entry brought nearer to 0. Bounds come
    first: both miss them only if the start is so far out that its ulp is wider than they are, and then the next
    step lands.

    Args:
        start: The weights as they are.
        goal: Where they must land, in the same shape and dtype.
        dtype: Of the step.
        rule: The constraint that the goal obeys, schedules read; if it has `bounds`, a step that ends within them is
            preferred.
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
