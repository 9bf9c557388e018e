"""The pictures of docs/tutorials/, from trainings of full length.

    python scripts/docs/tutorials.py

It takes about two minutes. Like those of README.md, the pictures have no background, and their colours can be read on
white and on black.
"""

import runpy
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

import jaxreg as jr
from jaxreg.lab import MLP, Data, Problem, Recipe, fit, linen, moons, stats, sweep, tutorial_moons
from jaxreg.lab.plots import style
from jaxreg.lab.report.svg import svg

PICTURES = runpy.run_path(str(Path(__file__).with_name("pictures.py")))
OUT, GREY, BLUE, ORANGE = (PICTURES[name] for name in ("OUT", "GREY", "BLUE", "ORANGE"))
STRENGTHS = [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
KERNEL = "hidden/kernel"


def problem(data: Data, every: int) -> Problem:
    return Problem(linen(MLP(hidden=500), inputs=(2,)), data, epochs=4000, record_every=every)


def points(ax: Axes) -> None:
    data = tutorial_moons()
    for x, y, filled in ((data.x_train[0], data.y_train[0], True), (data.x_test[0], data.y_test[0], False)):
        for label, colour, marker in ((0, BLUE, "o"), (1, ORANGE, "s")):
            rows = np.asarray(x)[np.asarray(y) == label]
            face = colour if filled else "none"
            name = f"class {label}, {'train' if filled else 'test'}"
            ax.plot(*rows.T, marker, markersize=5, color=colour, markerfacecolor=face, label=name)
    ax.set(xlabel="first feature", ylabel="second feature")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def curves(ax: Axes, named: list[tuple[str, Any, str]]) -> None:
    epochs = np.arange(0, 4001, 50)
    for name, losses, colour in named:
        ax.plot(epochs, losses, color=colour)
        ax.annotate(name, (epochs[-1], losses[-1]), (-4, 5), "data", "offset points", ha="right", color=colour)
    ax.set(xlabel="epoch", ylabel="test loss", xlim=(0, 4000), ylim=(0, 0.7))


def strengths(ax: Axes, found: Any) -> None:
    last, shown = found.isel(epoch=-1), STRENGTHS[1:]
    for name, colour in (("train_accuracy", GREY), ("test_accuracy", BLUE)):
        ax.plot(shown, last[name].sel(strength=shown), "o-", markersize=4, color=colour)
        ax.axhline(last[name].sel(strength=0.0).item(), color=colour, linestyle=":")
        ax.annotate(name.partition("_")[0], (shown[1], last[name].sel(strength=shown[1]).item()), (0, 5), "data",
                    "offset points", ha="center", color=colour)  # fmt: skip
    ax.set(xscale="log", xlabel="strength of L2 (dotted: without)", ylabel="accuracy", ylim=(0.8, 1.02))


def draws(ax: Axes) -> None:
    fresh = problem(moons(range(64), train=30, test=4000), 4000)

    def training(strength: jax.Array, draw: jax.Array) -> dict[str, Any]:
        return fit(fresh, Recipe(penalties={KERNEL: jr.L2(strength)}), jax.random.key(draw), draw)

    losses = sweep(training, {"strength": [0.0, 1e-2], "draw": range(64)})["test_loss"].isel(epoch=-1)
    change = stats.paired(losses.sel(strength=1e-2), losses.sel(strength=0.0), lower_is_better=True)
    gaps = np.sort((losses.sel(strength=1e-2) - losses.sel(strength=0.0)).values)
    ax.axhspan(change.low, change.high, color=BLUE, alpha=0.3, lw=0)
    ax.axhline(change.mean, color=BLUE)
    ax.axhline(0, color=GREY, lw=0.8)
    ax.plot(gaps, "o", markersize=4, color=GREY)
    ax.annotate("mean and 95 % interval", (63, change.low), (0, -4), "data", "offset points", ha="right", va="top",
                color=BLUE)  # fmt: skip
    ax.set(xlabel="64 draws, sorted", ylabel="change of the test loss", xticks=[])


def main() -> None:
    one = problem(tutorial_moons(), 50)

    def training(strength: jax.Array) -> dict[str, Any]:
        return fit(one, Recipe(penalties={KERNEL: jr.L2(strength)}), jax.random.key(0))

    found = sweep(training, {"strength": STRENGTHS})
    loss = found["test_loss"]
    unit = fit(one, Recipe(constraints={KERNEL: jr.UnitNorm()}), jax.random.key(0))["test_loss"].values
    none = ("none", loss.sel(strength=0.0).values, GREY)
    with style(), rc_context(PICTURES["MUTED"]):
        for name, draw in {
            "moons": points,
            "curves": lambda ax: curves(ax, [none, ("L2(0.001)", loss.sel(strength=1e-3).values, BLUE)]),
            "strengths": lambda ax: strengths(ax, found),
            "draws": draws,
            "unit": lambda ax: curves(ax, [none, ("UnitNorm", np.asarray(unit), BLUE)]),
        }.items():
            figure, ax = PICTURES["axes"]()
            draw(ax)
            path = OUT / f"tutorial_{name}.svg"
            path.write_text(svg(figure, path.stem), "utf-8")
            print(path.name)


if __name__ == "__main__":
    main()
