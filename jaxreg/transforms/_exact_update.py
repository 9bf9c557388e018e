"""Compute the update for which `params + update` rounds to the projected point."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._complex import from_pairs, to_pairs
from jaxreg._precision import beside
from jaxreg._protocols import facts
from jaxreg.constraints._bounds import clip


def landing(start: jax.Array, goal: jax.Array, dtype: Any, rule: Any = None) -> jax.Array:
    """Return the update from `start` to `goal`. If rounding prevents this, the update ends close to `goal`.

    Each weight has two candidates. The first is the rounded difference goal - start. The second is the floating-point
    number next to the first, on the side that moves the end towards the goal. The first rule that applies decides:

    1. If a candidate reaches the goal exactly, it is returned.
    2. If `rule` has bounds and only one candidate ends within the bounds, this candidate is returned.
    3. The candidate that ends nearer to 0 is returned. In a set such as a ball, weights may always shrink towards 0, so
       the end stays in the set.

    Both candidates miss the bounds only if neighbouring floating-point numbers at `start` are farther apart than the
    bounds. Then the next update reaches the bounds.

    Args:
        start: Current weights.
        goal: Weights to reach, in the same shape and dtype.
        dtype: Dtype of the update.
        rule: Constraint that the goal satisfies, with schedules evaluated. It may have `bounds`.
    """
    if jnp.iscomplexobj(start):
        pairs = to_pairs(start), to_pairs(goal)
        return from_pairs(landing(*pairs, pairs[0].dtype)).astype(dtype)
    step, end, other, other_end, better = _candidates(start, goal, dtype)
    if facts(rule).bounds() is not None:
        inside, other_inside = _within(rule, end), _within(rule, other_end)
        better = jnp.where(inside == other_inside, better, other_inside)
    return jnp.where((end != goal) & better, other, step)


def _within(rule: Any, w: jax.Array) -> jax.Array:
    # The bounds are computed each time: with another program, stored sweeps of traced bounds would not go on.
    low, high = facts(rule).bounds() or (-jnp.inf, jnp.inf)
    return clip(w, low, high) == w


# With jit, leaves of one shape are traced once. With `inline`, the program is the same as without jit.
@partial(jax.jit, static_argnames="dtype", inline=True)
def _candidates(start: jax.Array, goal: jax.Array, dtype: Any) -> tuple[jax.Array, ...]:
    """Return both updates, each followed by its end, and whether the second one is better."""
    exact = jnp.promote_types(start.dtype, dtype)
    step = (goal.astype(exact) - start.astype(exact)).astype(dtype)
    end = (start + step).astype(start.dtype)
    other = beside(step, jnp.where(end < goal, jnp.inf, -jnp.inf).astype(dtype))
    other_end = (start + other).astype(start.dtype)
    return step, end, other, other_end, (other_end == goal) | (jnp.abs(end) > jnp.abs(goal))
