"""Choice of a regularisation strength on validation data, so that test data is used only once."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from jaxreg.lab.cards import card, short
from jaxreg.lab.stats.directions import is_limit, lower
from jaxreg.lab.stats.lanes import OVER, TIE, dims_of, finite, has_words, named, one_entry, per_unit, unit


@dataclass(frozen=True)
class OneStandardError:
    """Result of `one_standard_error`: the chosen regularisation strength, and the strength with the best mean score.

    Attributes:
        strength: The chosen strength. It is the largest strength whose mean is within one standard error of
            `best_mean`. For the limits of a constraint, it is the smallest limit whose mean is within one standard
            error.
        label: Label of the chosen entry on the dimension of the strengths, such as the name of a recipe.
        best: The strength with the best mean: the lowest mean of losses, or the highest mean of scores.
        best_mean: Mean at the strength `best`.
        standard_error: Standard error of `best_mean`.
        n: Number of draws of the data from which the standard error is computed. With only one draw, number of seeds.
        diverged: Coordinates of the runs with a NaN or infinite value, such as "draw=3, strength=0.1". A strength with
            a diverged run is not chosen.
    """

    strength: float
    label: Hashable
    best: float
    best_mean: float
    standard_error: float
    n: int
    diverged: tuple[str, ...] = ()


def one_standard_error(
    values: xr.DataArray, over: Sequence[Hashable] = OVER, *, lower_is_better: bool | None = None
) -> OneStandardError:
    """Choose the largest regularisation strength whose mean score is within one standard error of the best mean score.

    This is the one-standard-error rule for validation results: among models that are statistically close to the best
    one, it prefers the simplest.

    Args:
        values: One number per run on validation data, with a coordinate `strength` along one dimension. A larger
            strength must mean a simpler model. A strength of NaN counts as 0. Without a coordinate `strength`, one
            dimension must hold the limits of a constraint. It is recognised by a value of infinity (no limit), or by a
            name like `limit`, `max_norm` or `radius`. A smaller limit means a simpler model. So the smallest limit
            within one standard error is chosen.
        over: Name or names of the dimensions of repeated runs, the outermost first: seeds within draws are
            `("draw", "seed")`. Names that `values` lacks are ignored. The standard error is computed across one of
            these dimensions: the first that has more than one entry. Before this, the runs are averaged over the
            others.
        lower_is_better: True if lower values are better, False if higher values are better. By default, the name of
            `values` decides: lower for `validation_loss` or `val_error`, higher for `val_accuracy` or `score`. If
            `values` has no name, higher values are better. For any other name, this argument is required.

    Returns:
        A `OneStandardError`.

    Raises:
        ValueError: If there is neither a coordinate `strength` nor exactly one dimension of limits. If a further
            dimension that is not in `over` has several entries. If there are fewer than two draws and fewer than two
            seeds. If every strength has a diverged run. If `lower_is_better` is not given, and the name of `values`
            does not say which values are better. If `lower_is_better` is not given, and values named as a loss are
            negative. They may be negated losses, so it is unclear which values are better.

    Example:
        >>> loss = xr.DataArray(
        ...     [[0.50, 0.30, 0.32, 0.90], [0.60, 0.40, 0.39, 0.80]],
        ...     dims=("draw", "strength"),
        ...     coords={"strength": [0.0, 0.001, 0.01, 0.1]},
        ... )
        >>> one_standard_error(loss, lower_is_better=True).strength
        0.01

    Reference: Breiman and others (1984), section 3.4.3; Hastie, Tibshirani and Friedman (2009), section 7.10.
    """
    dim, strength, simplicity = _strengths(values, over)
    lower_is_better = lower(lower_is_better, values)
    usable = np.flatnonzero(finite(values).all([d for d in values.dims if d != dim]).values)
    if not usable.size:
        raise ValueError(
            f"every strength has a run with a NaN or infinite value, for example {named(~finite(values))[0]}; expected "
            "at least one strength with finite values only"
        )
    means, errors = [], []
    for place in usable:
        units = per_unit(values.isel({dim: place}), over)
        if units.size < 2:
            raise ValueError(f"the values have sizes {dict(values.sizes)}; expected at least 2 draws or 2 seeds")
        means.append(float(units.mean()))
        errors.append(float(units.std(ddof=1)) / np.sqrt(units.size))
    score = -np.array(means) if lower_is_better else np.array(means)
    tried, order = strength[usable], simplicity[usable]
    top = int(np.lexsort((order, score))[-1])
    within = np.flatnonzero(score >= score[top] - errors[top])
    strongest = within[order[within] == order[within].max()]
    choice = int(strongest[np.argmax(score[strongest])])  # of stacked settings, several have this strength
    return OneStandardError(
        strength=float(tried[choice]),
        label=values[dim].values.tolist()[usable[choice]],
        best=float(tried[top]),
        best_mean=means[top],
        standard_error=float(errors[top]),
        n=units.size,
        diverged=named(~finite(values)),
    )


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """Result of `nested_choice`: the regularisation strength chosen for each draw of the data, and its test results.

    With only one draw, a strength is chosen for each seed.

    Attributes:
        chosen: Label of the strength chosen for each draw.
        test: Test values of the chosen strengths, one per run. Compare them with a baseline by `paired`.
        tally: Number of times each label was chosen, the most frequent first.
        mean: Mean of `test`; NaN if a test value is NaN.
        best_of_grid: Best mean test value of all strengths: the lowest mean of losses, or the highest mean of scores.
            This value is too optimistic, because this strength was chosen on the test data.
        best_of_grid_label: Label of the strength with the mean `best_of_grid`.
        diverged: Coordinates of the validation runs with a NaN or infinite value, such as "strength=0.1, draw=3". A
            strength with a diverged run in a draw is not chosen for this draw.
    """

    chosen: xr.DataArray
    test: xr.DataArray
    tally: dict[Hashable, int]
    mean: float
    best_of_grid: float
    best_of_grid_label: Hashable
    diverged: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if not isinstance(value, xr.DataArray)}
        return f"NestedChoice({', '.join(f'{name}={short(value)}' for name, value in shown.items())})"

    def _repr_html_(self) -> str:
        units = sum(self.tally.values())
        rows = [[str(label), f"{count} of {units}"] for label, count in self.tally.items()]
        return card(f"Chosen on validation data; mean on test data: {short(self.mean)}", ["chosen", "times"], rows)


def nested_choice(
    validation: xr.DataArray,
    test: xr.DataArray,
    over: Sequence[Hashable] = OVER,
    *,
    lower_is_better: bool | None = None,
) -> NestedChoice:
    """Choose a strength for each draw on its validation data, and return the test results of the chosen strengths.

    The seeds of a draw are averaged before the choice. A strength with a diverged run in a draw is not chosen for this
    draw. In a tie, the larger strength or the smaller limit is chosen.

    If the most frequent choice is the smallest or the largest strength of the grid, extend the grid at this end.

    To choose among combinations of settings, such as strengths and learning rates, first stack the dimensions of the
    settings into one, in both arrays: `.stack(setting=["strength", "rate"])`. In a tie of such combinations, the first
    one is chosen. Do not stack repeated runs, because the luckiest run would be chosen. Name a dimension of repeated
    runs `seed` or `draw`, or pass its name in `over`.

    Args:
        validation: One number per run, with a coordinate `strength` along one dimension. A strength of NaN counts as 0.
            All other dimensions hold repeated runs. Without a coordinate `strength`, one dimension must hold the limits
            of a constraint. It is recognised by a value of infinity (no limit), or by a name like `limit`, `max_norm`
            or `radius`.
        test: The same runs on test data.
        over: Name or names of the dimensions of repeated runs, the outermost first, such as `("draw", "seed")` for
            seeds within draws. Names that `validation` lacks are ignored. By default, one strength is chosen per draw,
            or per seed if there is only one draw. In general, dimensions with a single entry are skipped, and one
            strength is chosen per entry of the outermost remaining dimension. Before the choice, the runs are averaged
            over the other dimensions in `over`.
        lower_is_better: True if lower values are better, False if higher values are better. By default, the names of
            the arrays decide: lower for `validation_loss` or `val_error`, higher for `val_accuracy` or `score`. If the
            arrays have no name, higher values are better. For any other name, this argument is required.

    Returns:
        A `NestedChoice`.

    Raises:
        ValueError: If there is neither a coordinate `strength` nor exactly one dimension of limits. If a further
            dimension that is not in `over` has several entries. If the arrays have different labels. If, in one of the
            draws, every strength has a diverged run. If `lower_is_better` is not given, and the names do not say which
            values are better. If `lower_is_better` is not given, and values named as a loss are negative. They may be
            negated losses, so it is unclear which values are better.

    Example:
        >>> grid = {"strength": [0.0, 0.01], "draw": [0, 1]}
        >>> validation = xr.DataArray([[0.9, 0.8], [0.9, 0.9]], coords=grid, dims=("strength", "draw"))
        >>> test = xr.DataArray([[0.7, 0.7], [0.8, 0.6]], coords=grid, dims=("strength", "draw"))
        >>> choice = nested_choice(validation, test)
        >>> choice.chosen.values, choice.test.values
        (array([0.01, 0.01]), array([0.8, 0.6]))

    Reference: Cawley and Talbot (2010), Journal of Machine Learning Research 11.
    """
    dim, *_ = _strengths(validation, over)
    lower_chosen, lower_tested = lower(lower_is_better, validation, test), lower(lower_is_better, test, validation)
    try:
        validation, test = xr.align(validation, test, join="exact")
    except ValueError as error:
        raise ValueError(
            "`validation` and `test` have different sizes or labels; expected the same runs in both. The sizes are "
            f"{dict(validation.sizes)} and {dict(test.sizes)} ({error})"
        ) from error
    along = unit(validation.isel({dim: 0}), over)
    inner = [d for d in validation.dims if d not in (dim, along)]
    mean = validation.astype(np.float64).mean(inner, skipna=False).transpose(along, dim)
    preferred = preference(validation, dim)
    place = _best(mean, preferred, lower_chosen)
    labels = validation[dim].values
    chosen = xr.DataArray(labels[place], dims=along, coords={along: validation[along]}, name=dim)
    read = test.isel({dim: xr.DataArray(place, dims=along)}).drop_vars(
        [name for name, coord in test.coords.items() if coord.dims == (dim,)]
    )
    grid = test.astype(np.float64).mean([d for d in test.dims if d != dim], skipna=False).values
    top = int(ranking(np.where(np.isfinite(grid), -grid if lower_tested else grid, -np.inf), preferred)[0])
    return NestedChoice(
        chosen=chosen,
        test=read,
        tally=dict(Counter(chosen.values.tolist()).most_common()),
        mean=float(read.astype(np.float64).mean(skipna=False)),
        best_of_grid=float(grid[top]),
        best_of_grid_label=labels.tolist()[top],
        diverged=named(~finite(validation)),
    )


def ranking(scores: np.ndarray, preferred: np.ndarray) -> np.ndarray:
    """Return the indices of scores from the best to the worst. Scores that differ only by rounding are tied.

    Of tied scores, the one with the larger value of `preferred` comes first. If these values are equal too, the smaller
    index comes first.

    Args:
        scores: Shape (n,). Higher is better, and NaN is the worst.
        preferred: Shape (n,), as returned by `preference`.

    Example:
        >>> ranking(np.array([1.0, 2.0, 2.0]), np.array([0.0, 0.1, 0.2]))
        array([2, 1, 0])
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    group = np.zeros(len(scores), int)
    best = scores[order[0]]
    for place, score in enumerate(scores[order]):
        if apart := score < best - TIE * abs(best):
            best = score
        group[place] = group[place - 1] + apart if place else 0
    return order[np.lexsort((order, -preferred[order], group))]


def preference(values: xr.DataArray | xr.Dataset, dim: Hashable) -> np.ndarray:
    """Return one number per entry of a dimension. In a tie, the entry with the largest number wins.

    If the entries differ only in their strength, the numbers are the strengths. If the entries differ only in a limit,
    the numbers are the limits with their sign changed.

    If the entries also differ in another setting, or have a strength in common, a larger strength does not mean a
    simpler model. All numbers are then 0, so that the first entry wins.

    Example:
        >>> losses = xr.DataArray([0.5, 0.5], dims="strength", coords={"strength": [0.0, 0.1]})
        >>> preference(losses, "strength")
        array([0. , 0.1])
        >>> preference(losses.expand_dims(rate=[1, 2]).stack(setting=["strength", "rate"]), "setting")
        array([0., 0., 0., 0.])
    """
    none = np.zeros(values.sizes[dim])
    name = _axis(values, [each for each in values.dims if each != dim])
    if name not in values.coords or values[name].dims != (dim,):
        return none
    strength = _numbers(values[name])
    others = [
        coord.values[(strength != 0) & np.isfinite(strength)]  # the baseline has a label of its own
        for name, coord in values.coords.items()
        if coord.dims == (dim,) and name not in (dim, "strength")
    ]
    single = len(set(strength.tolist())) == len(strength) and all(len(set(other.tolist())) < 2 for other in others)
    if not single:
        return none
    return -strength if is_limit(name, strength) else strength


def _best(mean: xr.DataArray, preferred: np.ndarray, lower_is_better: bool) -> np.ndarray:
    usable = np.isfinite(mean.values)
    if not usable.any(axis=1).all():
        raise ValueError(
            f"no strength can be chosen for {'; '.join(named(~finite(mean).any(str(mean.dims[1])))[:5])}: every "
            "strength has a run with a NaN or infinite value. Expected at least one strength with finite values only"
        )
    score = np.where(usable, -mean.values if lower_is_better else mean.values, -np.inf)
    return np.array([ranking(row, preferred)[0] for row in score])


def _axis(values: xr.DataArray | xr.Dataset, runs: Sequence[Hashable]) -> Hashable:
    """Return the name of the coordinate with the strengths: the only dimension of limits, if there is no "strength"."""
    if "strength" in values.coords:
        return "strength"
    axes = [dim for dim in values.dims if dim not in runs and dim in values.coords]
    axes = [dim for dim in axes if np.issubdtype(values[dim].dtype, np.number) and is_limit(dim, values[dim].values)]
    return axes[0] if len(axes) == 1 else "strength"


def _numbers(strength: xr.DataArray) -> np.ndarray:
    return np.nan_to_num(strength.values.astype(np.float64), nan=0.0, posinf=np.inf)


def _strengths(values: xr.DataArray, over: Sequence[Hashable]) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the dimension of the strengths, the strengths, and numbers that are larger for simpler models."""
    runs = dims_of(over)
    name = _axis(values, runs)
    if name not in values.coords or values[name].ndim != 1:
        raise ValueError(
            f"the values have dimensions {values.dims} and coordinates {list(map(str, values.coords))}; expected a "
            f"coordinate 'strength' along one dimension{_renamed(values, runs)}"
        )
    dim = values[name].dims[0]
    if other := [each for each in values.dims if each not in (dim, *runs) and values.sizes[each] > 1]:
        raise ValueError(
            f"there is a further dimension, {other[0]!r}, with {values.sizes[other[0]]} entries; expected only "
            f"{dim!r} and the dimensions of repeated runs, {', '.join(map(repr, runs))}. "
            f"{_repeated(values, other[0], runs)}select one, e.g. {one_entry(values, other[0])}, "
            f"or choose among all combinations of settings: .stack(setting={[*_levels(values, dim), other[0]]})"
        )
    numbers = _numbers(values[name])
    return str(dim), numbers, -numbers if is_limit(name, numbers) else numbers


def _renamed(values: xr.DataArray, runs: tuple[Hashable, ...]) -> str:
    """Return the advice to rename the numeric axis to 'strength', if there is only one such axis."""
    axes = [dim for dim in values.dims if dim not in (*runs, "epoch") and dim in values.coords]
    axes = [dim for dim in axes if np.issubdtype(values[dim].dtype, np.number)]
    free = "strength" not in (*values.dims, *values.coords)
    return f". Rename the axis of strengths: .rename({axes[0]}='strength')" if free and len(axes) == 1 else ""


def _repeated(values: xr.DataArray, dim: Hashable, runs: tuple[Hashable, ...]) -> str:
    """Return the advice on a dimension whose entries may be repeated runs, up to the word "they".

    Such entries must not be stacked, because the luckiest repetition would be chosen.
    """
    if has_words(values, dim):
        return "Its entries are settings: "
    over = (*(name for name in runs if name in values.dims), dim)
    return f"If its entries are repeated runs, pass over={over}. If they are settings, "


def _levels(values: xr.DataArray, dim: Hashable) -> list[Hashable]:
    """Return the dimensions that were stacked into one, or the dimension itself."""
    return list(values.indexes[dim].names) if dim in values.indexes else [dim]
