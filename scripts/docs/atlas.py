"""The pictures of docs/atlas.md.

    python scripts/docs/atlas.py

They are the same bytes every time on the same machine. Like those of README.md, they have no background, and their
colours can be read on white and on black.
"""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib import rc_context
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab.plots import style
from jaxreg.lab.plots.theme import legend
from jaxreg.lab.report.svg import svg

OUT = Path(__file__).parents[2] / "docs" / "atlas"
PICTURES = runpy.run_path(str(Path(__file__).with_name("pictures.py")))
GREY, BLUE, ORANGE, GREEN = (PICTURES[name] for name in ("GREY", "BLUE", "ORANGE", "GREEN"))
CURVATURE, GOAL = jnp.array([[2.0, 0.8], [0.8, 1.0]]), jnp.array([[3.0], [-1.2]])
FALLING = optax.exponential_decay(0.02, 500, 0.5)


def bowl(w):
    return jnp.sum((w["kernel"] - GOAL) * (CURVATURE @ (w["kernel"] - GOAL))) / 2


def path(tx, loss, start, steps):
    """The weights before each step."""
    return np.asarray(jax.jit(lambda: walk(tx, loss, start, steps)[1])())


def walk(tx, loss, start, steps):
    """The weights after the last step, and before each one."""

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), w["kernel"]

    (end, _), before = jax.lax.scan(step, (start, tx.init(start)), None, length=steps)
    return end["kernel"], before


def box():
    start = {"kernel": jnp.array([[-0.5], [-0.9]])}
    ball = jr.LinfBall(1.0)
    ways = {
        "AdamW, decay 1": (optax.adamw(FALLING, b2=0.99, weight_decay=1.0), BLUE, "-"),
        "conditional gradient": (
            optax.chain(jr.conditional_gradient(ball), optax.scale_by_learning_rate(FALLING)),
            ORANGE,
            "--",
        ),
        "projected on the box": (optax.chain(optax.sgd(0.01), jr.project(ball)), GREEN, "-."),
    }
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    ax = figure.add_subplot()
    across, up = np.meshgrid(np.linspace(-1.3, 1.6, 60), np.linspace(-1.3, 1.3, 60))
    dx, dy = across - 3.0, up + 1.2
    ax.contour(across, up, dx**2 + 0.8 * dx * dy + dy**2 / 2, levels=14, colors=GREY, linewidths=0.5)
    ax.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color=GREY, linewidth=1)
    for name, (tx, colour, dashes) in ways.items():
        walked = path(tx, bowl, start, 5000)[::10, :, 0]
        ax.plot(*walked.T, color=colour, linestyle=dashes, label=name)
    ax.plot(1.0, 0.4, "o", color=GREY, label="smallest loss in the box")
    ax.set(xlabel="first weight", ylabel="second weight", aspect="equal")
    legend(ax, below=True)
    return figure


def spectral():
    goal = jnp.array([[2.5, 0.3], [-0.4, 0.6]])
    start = {"kernel": jnp.zeros((2, 2))}

    def loss(w):
        return jnp.sum((CURVATURE @ (w["kernel"] - goal)) ** 2) / 2

    muon = optax.chain(jr.steepest(jr.SpectralNorm(1.0)), jr.decay(jr.L2(0.5)), optax.scale_by_learning_rate(FALLING))
    ways = {
        "Muon, decay 1": (muon, BLUE),
        "projected on the ball": (optax.chain(optax.sgd(0.01), jr.project(jr.SpectralNorm(1.0))), ORANGE),
    }
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    ax = figure.add_subplot()
    for name, (tx, colour) in ways.items():
        values = np.linalg.svd(path(tx, loss, start, 1500), compute_uv=False)
        ax.plot(values[:, 0], color=colour, label=name)
        ax.plot(values[:, 1], color=colour)
    ax.set(xlabel="step", ylabel="singular values")
    legend(ax)
    return figure


def radius():
    start = {"kernel": jnp.full((2, 1), 0.1)}
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    kinds = (("L2", jr.L2, jr.MaxNorm, 2, 2.6), ("L1", jr.L1, jr.L1Ball, 1, 3.0))
    for number, (name, penalty, ball, order, most) in enumerate(kinds):
        ax = figure.add_subplot(1, 2, number + 1)

        def penalised(s, penalty=penalty):
            return walk(optax.chain(optax.sgd(0.1), jr.proximal(penalty(s), 0.1)), bowl, start, 600)[0][:, 0]

        def held(c, ball=ball):
            return walk(optax.chain(optax.sgd(0.1), jr.project(ball(c))), bowl, start, 600)[0][:, 0]

        by_penalty = np.asarray(jax.jit(jax.vmap(penalised))(jnp.geomspace(1e-2, 10, 60)))
        by_ball = np.asarray(jax.jit(jax.vmap(held))(jnp.linspace(0.1, most, 16)))
        for place, colour in enumerate((BLUE, ORANGE)):
            sizes = np.linalg.norm(by_penalty, ord=order, axis=1)
            ax.plot(sizes, by_penalty[:, place], color=colour, label=f"weight {place + 1}, penalty {name}")
            sizes = np.linalg.norm(by_ball, ord=order, axis=1)
            ax.plot(sizes, by_ball[:, place], "o", color=colour, markersize=4, label=f"weight {place + 1}, its ball")
        ax.set(xlabel="Euclidean norm" if order == 2 else "sum of absolute values", ylabel="weight")
        legend(ax)
    return figure


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for draw in (box, spectral, radius):
        with style(), rc_context(PICTURES["MUTED"]):
            document = PICTURES["recoloured"](svg(draw(), draw.__name__))
        (OUT / f"{draw.__name__}.svg").write_text(document, "utf-8")
        print(OUT / f"{draw.__name__}.svg")
