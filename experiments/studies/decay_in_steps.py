"""Weight decay that is raised in steps, with the decision surface before and after.

Claim: raising the decay in steps makes the decision surface smoother. There is no decay until epoch 1,200, then a decay
of 1e-5, from epoch 2,500 one of 1e-4, and one of 1e-3 for the last 400 epochs (Reed and Marks, Neural Smithing, p. 270,
quoted in J. Brownlee's tutorial on weight decay). All recipes are the same training. A learning rate of 0 stops each of
them at a different epoch; only the last one has the complete schedule.
Command: jaxreg run decay_in_steps
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons, tutorial_moons

EPOCHS = 4000
MODEL = linen(MLP(hidden=500), inputs=(2,))
STEPS = optax.join_schedules([optax.constant_schedule(s) for s in (0.0, 1e-5, 1e-4, 1e-3)], [1200, 2500, EPOCHS - 400])


def recipe(share: Any, stop: Any) -> Recipe:
    return Recipe(
        penalties={"hidden/kernel": jr.L2(lambda step: share * STEPS(step))},
        learning_rate=lambda step: jnp.where(step < stop, 1e-3, 0.0),
    )


def steepness(params: Any) -> dict[str, jax.Array]:
    """Return the mean length of the gradient of the logit on a grid around the data; smaller is smoother."""
    places = jnp.stack(jnp.meshgrid(jnp.linspace(-1.5, 2.5, 30), jnp.linspace(-1.0, 1.5, 20)), -1).reshape(-1, 2)
    slopes = jax.vmap(jax.grad(lambda x: MODEL.apply(params, x[None])[0, 0]))(places)
    return {"steepness": jnp.linalg.norm(slopes, axis=1).mean()}


STUDY = Study(
    name="decay_in_steps",
    title="L2 raised in steps on the hidden kernel, moons, MLP 2-500-1",
    model=MODEL,
    data=tutorial_moons(),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "in steps",
            recipe,
            strengths=((0, EPOCHS), (1, 1200), (1, 2500), (1, EPOCHS - 400), (1, EPOCHS)),
            label=["none", "before, at 1200", "1e-5, at 2500", "1e-4, at 3600", "1e-3, after"],
            quantity="last epoch",
        )
    ],
    claims=[
        Claim("the surface is smoother with decay than without", "1e-3, after", variable="steepness", sign=-1),
        Claim("the surface is smoother after the decay than before", "1e-3, after", "before, at 1200", "steepness", -1),
        Claim("the last 400 epochs at 1e-3 make the surface smoother", "1e-3, after", "1e-4, at 3600", "steepness", -1),
        Claim("decay in steps raises the test accuracy", "1e-3, after"),
    ],
    outputs=steepness,
    highlights=["before, at 1200", "1e-3, after"],
    grid="in steps",
    size=Size(seeds=16, draws=32, epochs=EPOCHS),
    quick=Size(seeds=2, draws=2, epochs=EPOCHS),
)
