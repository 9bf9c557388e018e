"""From where the weights are to where they must land: the step that floating-point addition takes there."""

from typing import Any

import jax
import jax.numpy as jnp


def landing(start: jax.Array, goal: jax.Array, dtype: Any) -> jax.Array:
    """The step, in `dtype`, for which start + step lands on `goal`, or beside it on the side of 0.

    The sum rounds and may end an ulp beyond the goal. Where it does, one ulp less of the step ends before it: still
    inside every set that contains w with any entry brought nearer to 0.
    """
    step = (goal - start).astype(dtype)
    end = (start + step).astype(start.dtype)
    beyond = jnp.abs(end) > jnp.abs(goal)
    return jnp.where(beyond, jnp.nextafter(step, -jnp.sign(end) * jnp.inf).astype(dtype), step)
