"""Magnitude pruning during the training: only the largest weights remain.

Claim: nine of ten weights can be removed gradually at no cost in accuracy (M. Zhu and S. Gupta, 2017). So can two of
each four neighbouring weights (A. Mishra and others, 2021). With fewer weights a network generalises better (Y. LeCun
and others, Optimal brain damage, 1990). The sparsity rises as in Zhu and Gupta's paper, over the first half of the
training. In 100 epochs instead of 400, pruning costs three to five times as much accuracy, because the other weights
need time to adapt.
Command: jaxreg run pruning
"""

from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import CLASSES, MLP, Arm, Claim, Data, Recipe, Size, Study, digits, linen

EPOCHS, ROWS = 400, 200
RISE = EPOCHS // 2 * -(-ROWS // 32)  # steps, of 32 rows


def flat_digits(count: int) -> Data:
    data = digits(range(count), train=ROWS, validation=200)
    return data._replace(**{name: x.reshape(*x.shape[:2], 64) for name, x in data._asdict().items() if name[0] == "x"})


def gradual(fewer: Any) -> Recipe:
    def rising(step: jax.Array) -> jax.Array:
        return (1 - 1 / jnp.maximum(fewer, 1)) * (1 - (1 - jnp.minimum(step / RISE, 1)) ** 3)

    return Recipe(constraints={jr.KERNELS: jr.Sparse(rising, axis=(0, 1))})


def left(params: Any) -> dict[str, jax.Array]:
    """Return the share of nonzero weights in both kernels, and the number of hidden units that are still connected.

    A connected unit has nonzero incoming and outgoing weights.
    """
    hidden, output = (params[layer]["kernel"] != 0 for layer in ("hidden", "output"))
    return {
        "share_left": (hidden.sum() + output.sum()) / (hidden.size + output.size),
        "units_left": jnp.sum(hidden.any(0) & output.any(1)).astype(jnp.float32),
    }


STUDY = Study(
    name="pruning",
    title="the largest weights of each kernel alone, digits, 200 rows, MLP 64-128-10",
    model=linen(MLP(hidden=128, outputs=10), inputs=(64,)),
    task=CLASSES,
    draws=flat_digits,
    drawn_from="1,797 digits",
    arms=[
        Arm(
            "pruned",
            gradual,
            strengths=(0, 2, 4, 10, 20, 50),
            label=["none", *(f"pruned by {share}%" for share in (50, 75, 90, 95, 98))],
            quantity="compression",
        ),
        Arm(
            "at once",
            lambda sparsity: Recipe(constraints={jr.KERNELS: jr.Sparse(sparsity, axis=(0, 1))}),
            strengths=(0.9, 0.98),
            label="at once by {0:.0%}",
            quantity="sparsity",
        ),
        Arm("2:4", lambda: Recipe(constraints={jr.KERNELS: jr.NMSparse(2, 4)})),
    ],
    claims=[
        Claim("nine of ten weights can be removed at no cost in accuracy", "pruned by 90%", sign=0, margin=0.005),
        Claim("three of four weights can be removed at no cost in accuracy", "pruned by 75%", sign=0, margin=0.005),
        Claim("two of each four neighbours can be removed at no cost in accuracy", "2:4", sign=0, margin=0.005),
        Claim("the test accuracy rises without three of four weights", "pruned by 75%"),
        Claim("the cross-entropy falls without three of four weights", "pruned by 75%", variable="test_loss", sign=-1),
        Claim("the cross-entropy falls without nine of ten weights", "pruned by 90%", variable="test_loss", sign=-1),
        Claim("gradual pruning is more accurate than pruning at once", "pruned by 90%", "at once by 90%"),
    ],
    outputs=left,
    highlights=["pruned by 90%", "pruned by 98%"],
    grid="pruned",
    size=Size(seeds=1, draws=32, epochs=EPOCHS),
    quick=Size(seeds=1, draws=2, epochs=4),
)
