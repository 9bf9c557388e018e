"""Case studies on disk whose figures are known, made through the real store without training anything."""

import jax.numpy as jnp
import numpy as np

from jaxreg.lab import Labelled, sweep
from jaxreg.lab.studies.results import FRESH, PUBLISHED, ArmRecord, Record, store_folder, write_record

EPOCHS = np.array([0, 50, 100])
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(3, 512)).astype(np.float32)
"""Of each draw: how hard it is, and what a recipe of the published kind adds to it in loss and in accuracy."""


def effect(strength, effects):
    return sum(jnp.where(jnp.isclose(strength, s, rtol=1e-4, atol=0), e, 0.0) for s, e in effects.items())


def make_study(
    folder,
    *,
    loss=None,
    accuracy=None,
    published_gain=0.0286,
    draws=64,
    seeds=3,
    epochs=100,
    noise=0.01,
    title="L2, moons",
    name="weight_regularization",
    label="L2({0:g})",
    validation=True,
    diverged=False,
    claims=(),
):
    """Write a study whose recipes change the loss and the accuracy of each draw by `effects` ± noise on average.

    Without seeds it has fresh draws alone, and nothing was published.
    """
    loss = loss or {1e-3: -0.3, 1e-2: -0.4}
    accuracy = accuracy or {1e-3: 0.006, 1e-2: 0.005}
    strengths = (0.0, *loss)

    def lane(strength, draw, base_loss, base_accuracy):
        hard, in_loss, in_accuracy = jnp.asarray(NOISE)[:, draw]
        regular = (strength > 0).astype(jnp.float32)
        final_loss = base_loss + 0.1 * hard + effect(strength, loss) + regular * noise * in_loss
        final_accuracy = base_accuracy - 0.03 * hard + effect(strength, accuracy) + regular * noise * in_accuracy / 10
        rise = jnp.asarray(EPOCHS / EPOCHS[-1], jnp.float32)

        def curve(start, end):
            return Labelled(start + (end - start) * rise, ("epoch",))

        kernel = jnp.linspace(-1, 1, 12).reshape(2, 6) / (1 + 100 * strength)
        outputs = {
            "train_loss": curve(0.7, 0.01 + strength),
            "test_loss": curve(0.7, final_loss),
            "train_accuracy": curve(0.5, 1.0 + 0 * strength),
            "test_accuracy": curve(0.5, final_accuracy),
            "penalty": curve(0.0, strength),
            "violation": curve(0.0, 0 * strength),
            "norm/hidden/kernel": curve(1.0, jnp.linalg.norm(kernel)),
            "norm/output/kernel": curve(1.0, 2.0 - strength),
            "diverged_at": jnp.where(diverged & (strength > 5e-3) & (draw == 2), 50, -1).astype(jnp.int32),
        }
        return outputs, kernel

    def fresh(strength, seed, draw):
        outputs, _ = lane(strength, draw, 0.8, 0.90)
        if validation:
            outputs["validation_loss"] = outputs["test_loss"]
        return outputs

    def published(strength, seed, draw):
        outputs, kernel = lane(strength, 0 * draw, 0.5 - 0.1 * NOISE[0, 0], 0.914 + 0.03 * NOISE[0, 0])
        gained = jnp.where(strength > 0, published_gain, 0.0)
        outputs["test_accuracy"] = Labelled(jnp.array([0.5, 0.7, 0.0]).at[2].set(0.914 + gained), ("epoch",))
        ramp = 1 / (
            1 + jnp.exp(-(jnp.linspace(-2, 2, 9)[None, :] + jnp.linspace(-1, 1, 7)[:, None]) / (0.1 + strength))
        )
        return outputs | {"params/hidden/kernel": kernel, "probability": Labelled(ramp, ("x2", "x1"))}

    places = {"x1": np.linspace(-2, 3, 9), "x2": np.linspace(-1, 2, 7)}
    over = {
        PUBLISHED: {"seed": np.arange(seeds), "draw": np.arange(1)},
        FRESH: {"seed": np.arange(1), "draw": np.arange(draws)},
    }
    for kind, run, seen in ((PUBLISHED, published, places), (FRESH, fresh, {}))[not seeds :]:
        axes = {"strength": np.asarray(strengths), **over[kind]}
        coords = {"epoch": EPOCHS * epochs // EPOCHS[-1], **seen}
        sweep(run, axes, store_folder(folder, kind, "L2"), coords=coords, progress=False)
    labels = ["none", *(label.format(s) for s in loss)]
    code = ["", *(f"jr.penalize({{'hidden/kernel': jr.L2(strength={s:g})}})" for s in loss)]
    points = {
        part: np.column_stack([RNG.normal(size=(n, 2)), np.arange(n) % 2]).tolist()
        for part, n in (("train", 6), ("test", 10))
    }
    theirs = {"none": (1.0, 0.914), labels[1]: (1.0, 0.943)} if seeds else {}
    arm = ArmRecord("L2", strengths, labels, "strength", code)
    record = Record(
        name=name,
        title=title,
        arms=[arm],
        epochs=100,
        published=theirs,
        claims=claims,
        highlights=[labels[1]],
        grid="L2",
        command="jaxreg run it",
        source="a tutorial" if seeds else "",
        points=points if seeds else {},
    )
    write_record(record, folder)
    return folder


def make_sweep(folder):
    """Write a sweep of trainings over l2 and draws, with the best at 0.01 and no validation rows."""

    def run(l2, draw):
        final = 0.5 + (jnp.log10(l2 + 1e-6) + 2) ** 2 / 20 + 0.001 * draw
        curve = Labelled(jnp.linspace(0.7, 1.0, 3) * final, ("epoch",))
        return {"train_loss": curve, "test_loss": curve, "diverged_at": -1 + 0 * draw}

    coords = {"epoch": EPOCHS}
    sweep(run, {"l2": [0.0, 1e-3, 1e-2, 1e-1], "draw": np.arange(9)}, folder, coords=coords, progress=False)
    return folder
