"""Variance between runs, split into variance between draws of the data and variance between seeds."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from jaxreg.lab.stats.lanes import finite, refuse


@dataclass(frozen=True)
class VarianceSplit:
    """Result of `variance_split`: variance between draws of the data, variance between seeds, and residual variance.

    All variances are in squared units of the values.

    Attributes:
        draw: Variance between draws of the data.
        seed: Variance between seeds of the initialisation.
        residual: Remaining variance, which is the interaction of draws and seeds.
        n_draws: Number of draws.
        n_seeds: Number of seeds.
    """

    draw: float
    seed: float
    residual: float
    n_draws: int
    n_seeds: int

    @property
    def total(self) -> float:
        """Total variance: the variance of runs that all use different draws and different seeds."""
        return self.draw + self.seed + self.residual


def variance_split(values: xr.DataArray, *, draw: str = "draw", seed: str = "seed") -> VarianceSplit:
    """Split the variance of runs into variance between draws of the data, between seeds, and residual variance.

    The model is y = mean + draw effect + seed effect + residual. The effects are random, and each combination of a draw
    and a seed has one run. The variances are estimated from the mean squares of the table of draws and seeds.

    A negative estimate is replaced by 0. If the true variance is near 0, about half of all estimates are negative.

    Args:
        values: One number per run, for every combination of draw and seed.
        draw: Name of the dimension of draws.
        seed: Name of the dimension of seeds.

    Returns:
        A `VarianceSplit`.

    Raises:
        ValueError: If another dimension has several entries, if there is only one draw or only one seed, or if a run
            has a NaN or infinite value.

    Example:
        >>> by_draw = xr.DataArray([1.0, 2.0, 3.0], dims="draw")
        >>> split = variance_split(by_draw + xr.DataArray([0.0, 0.0], dims="seed"))
        >>> split.draw, split.seed, split.residual
        (1.0, 0.0, 0.0)

    Reference: Shrout and Fleiss (1979), Psychological Bulletin 86; Searle, Casella and McCulloch (1992), chapter 4.
    """
    lanes = values.squeeze([dim for dim in values.dims if dim not in (draw, seed) and values.sizes[dim] == 1])
    if set(lanes.dims) != {draw, seed} or min(lanes.shape) < 2:
        raise ValueError(
            f"`variance_split`: the values have sizes {dict(values.sizes)}; expected only {draw!r} and "
            f"{seed!r}, with at least 2 entries each. Run more draws or seeds, or select one entry of each other "
            "dimension"
        )
    refuse(~finite(lanes))
    table = lanes.transpose(draw, seed).values.astype(np.float64)
    rows, columns = table.shape
    by_draw, by_seed = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - by_draw - by_seed + table.mean()
    residual = float((rest**2).sum() / ((rows - 1) * (columns - 1)))
    return VarianceSplit(
        draw=max(0.0, float(by_draw.var(ddof=1)) - residual / columns),
        seed=max(0.0, float(by_seed.var(ddof=1)) - residual / rows),
        residual=residual,
        n_draws=rows,
        n_seeds=columns,
    )
