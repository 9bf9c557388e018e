"""Plots of training runs, in Matplotlib axes that you pass in."""

from jaxreg.lab.plots.comparisons import paired_differences
from jaxreg.lab.plots.epochs import curve, learning_curves, violation, weight_norms
from jaxreg.lab.plots.forest_plot import forest
from jaxreg.lab.plots.models import data, decision_surface, weight_histograms
from jaxreg.lab.plots.strength_grid import heat_map
from jaxreg.lab.plots.strengths import sparsity_path, strength_path
from jaxreg.lab.plots.theme import COLOURS, style

__all__ = [
    "COLOURS",
    "curve",
    "data",
    "decision_surface",
    "forest",
    "heat_map",
    "learning_curves",
    "paired_differences",
    "sparsity_path",
    "strength_path",
    "style",
    "violation",
    "weight_histograms",
    "weight_norms",
]
