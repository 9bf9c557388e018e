"""The pictures of README.md and of docs/plots.md, drawn by their own code or from what it finds.

    python scripts/docs/pictures.py

It runs the Python blocks of both and takes a minute. The pictures have no background, and their greys can be read
on white and on black.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import stats
from jaxreg.lab.plots import style
from jaxreg.lab.plots.theme import BLACK
from jaxreg.lab.plots.theme import BLUE as THEME_BLUE
from jaxreg.lab.plots.theme import GREY as THEME_GREY
from jaxreg.lab.report.svg import svg

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "pictures"
GREY, BLUE, ORANGE, GREEN = "#858585", "#3d8fd1", "#d98a00", "#1fa37c"  # 3 : 1 or more on white and on #0d1117
MUTED: dict[str, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
"""Settings of Matplotlib inside `style`: greys for text and axes, and legends without a box."""


def recoloured(document: str) -> str:
    """Return a picture in colours that can be read on white and on black."""
    for colour, seen in ((BLACK, GREY), (THEME_GREY, GREY), (THEME_BLUE, BLUE)):
        document = re.sub(rf"(?<=: ){colour}\b", seen, document, flags=re.IGNORECASE)
    return document.replace("<svg ", f'<svg fill="{GREY}" ', 1)  # what has no colour is black


def axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    return figure, figure.add_subplot()


def loop(names: dict[str, Any]) -> Figure:
    figure, ax = axes()
    loss, start = names["loss"], jax.tree.map(np.zeros_like, names["params"])
    kernels = jr.KERNELS
    ways = {
        "Adam alone": ({}, GREY, 1.0),
        "penalties: L2(0.1)": ({"penalties": {kernels: jr.L2(0.1)}}, ORANGE, -1.0),
        "constraints: MaxNorm(2)": ({"constraints": {kernels: jr.MaxNorm(2.0)}}, BLUE, -1.0),
    }
    for name, (rules, colour, side) in ways.items():
        tx = jr.regularize(optax.adam(0.1), **rules)

        def step(carry, _, tx=tx):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), jr.tree_norm({"kernel": params["kernel"]})

        norms = jax.lax.scan(step, (start, tx.init(start)), length=200)[1]
        ax.plot(range(201), [0.0, *np.asarray(norms)], color=colour)
        ax.annotate(name, (200, norms[-1]), (-4, 6 * side), "data", "offset points", ha="right",
                    va="bottom" if side > 0 else "top", color=colour)  # fmt: skip
    ax.set(xlabel="step", ylabel="norm of the kernel", xlim=(0, 200), ylim=(0, 4.6))
    return figure


def grid(names: dict[str, Any]) -> Figure:
    figure, ax = axes()
    losses = names["losses"]
    strengths, means = losses["strength"].values[1:], losses.mean("draw").values
    low, high = stats.mean_interval(losses.transpose("strength", "draw").values)
    ax.axhspan(low[0], high[0], color=GREY, alpha=0.3, lw=0)
    ax.axhline(means[0], color=GREY)
    ax.annotate("no regulariser", (strengths[-1], low[0]), (0, -3), "data", "offset points", ha="right", va="top",
                color=GREY)  # fmt: skip
    ax.fill_between(strengths, low[1:], high[1:], color=BLUE, alpha=0.3, lw=0)
    ax.plot(strengths, means[1:], color=BLUE, marker="o", markersize=4)
    ax.set(xscale="log", xlabel="strength of L2", ylabel="test loss", ylim=(0, None))
    return figure


def table(names: dict[str, Any]) -> Figure:
    figure, ax = axes()
    search = names["net"].search_
    order = np.argsort(-search.found.losses.mean(axis=1))
    for place, which in enumerate(order):
        folds = search.found.losses[which]
        colour = BLUE if which == search.found.chosen else GREY
        ax.plot(folds, np.full(len(folds), place), "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
        ax.plot(folds.mean(), place, "|", color=colour, markersize=14, markeredgewidth=2.5)
    ax.set_yticks(range(len(order)), [search.tried[which].label for which in order])
    ax.get_yticklabels()[int(np.flatnonzero(order == search.found.chosen)[0])].set_color(BLUE)
    ax.set(xlabel="cross-entropy on five held-out folds, and its mean", xlim=(0, None))
    return figure


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def plots() -> Iterator[tuple[str, Figure]]:
    page = ROOT / "docs" / "plots.md"
    pictures = re.findall(r"\(pictures/plots/(\w+)\.svg\)", page.read_text("utf-8"))
    first, *rest = blocks_of(page)
    names: dict[str, Any] = {}
    exec(first, names)
    for block, picture in zip(rest, pictures, strict=True):
        exec(block, names)
        names["ax"].figure.set_size_inches(6, 3)
        yield picture, names["ax"].figure


def main() -> None:
    (OUT / "plots").mkdir(parents=True, exist_ok=True)
    blocks = blocks_of(ROOT / "README.md")
    names: dict[str, Any] = {}
    with style(), rc_context(MUTED):
        for block, draw in zip(blocks, (loop, grid, table), strict=True):
            exec(block, names)
            path = OUT / f"{draw.__name__}.svg"
            path.write_text(svg(draw(names), draw.__name__), "utf-8")
            print(path.relative_to(ROOT))
        for name, figure in plots():
            path = OUT / "plots" / f"{name}.svg"
            path.write_text(recoloured(svg(figure, name)), "utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
