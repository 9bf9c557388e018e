"""Limits on single weights before the weights are rounded to 8 bits.

Claim: limits on single weights prepare a network for quantisation (a reader's question under J. Brownlee's tutorial on
weight constraints). Each kernel is rounded to 255 levels between plus and minus its largest weight. Two errors are
measured: that of the weights, and that of the predicted probabilities on a grid around the data.
Command: jaxreg run quantisation
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons

MODEL = linen(MLP(hidden=500), inputs=(2,))


def in_8_bits(params: Any) -> dict[str, jax.Array]:
    """Return the errors that rounding to 8 bits makes, and the share of weights at the limit.

    The error of the hidden kernel is a root mean square. The error of the probabilities is a mean absolute
    difference.
    """

    def rounded(w: jax.Array) -> jax.Array:
        level = jnp.abs(w).max() / 127
        return jnp.round(w / level) * level if w.ndim > 1 else w

    places = jnp.stack(jnp.meshgrid(jnp.linspace(-1.5, 2.5, 30), jnp.linspace(-1.0, 1.5, 20)), -1).reshape(-1, 2)
    coarse = jax.tree.map(rounded, params)
    before, after = (jax.nn.sigmoid(MODEL.apply(each, places)) for each in (params, coarse))
    kernel = params["hidden"]["kernel"]
    return {
        "weight_error": jnp.sqrt(jnp.mean(jnp.square(kernel - coarse["hidden"]["kernel"]))),
        "probability_error": jnp.abs(before - after).mean(),
        "share_at_the_limit": jnp.mean(jnp.abs(kernel) >= 0.999 * jnp.abs(kernel).max()),
    }


STUDY = Study(
    name="quantisation",
    title="every weight of both kernels within a limit, and rounded to 8 bits, moons, MLP 2-500-1",
    model=MODEL,
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "box",
            lambda limit: Recipe(constraints={jr.KERNELS: jr.LinfBall(limit)}),
            strengths=(inf, 1.0, 0.5, 0.25, 0.1),
            label="box(±{0:g})",
            quantity="limit",
        )
    ],
    claims=[
        Claim(
            "a limit of 0.25 reduces the rounding error of the weights", "box(±0.25)", variable="weight_error", sign=-1
        ),
        Claim(
            "a limit of 0.25 reduces the error of the probabilities",
            "box(±0.25)",
            variable="probability_error",
            sign=-1,
        ),
        Claim("a limit of 0.25 costs no accuracy", "box(±0.25)", sign=0, margin=0.005),
        Claim("a limit of 0.25 lowers the cross-entropy", "box(±0.25)", variable="test_loss", sign=-1),
    ],
    outputs=in_8_bits,
    highlights=["box(±0.25)", "box(±0.1)"],
    grid="box",
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
