"""Stored results of case studies and of training sweeps, and functions that read them.

The folder of a case study contains `study.json`, which describes the study, and the stores of its sweeps. An arm of a
study is one regulariser with all its strengths. The store `fresh/<method>` has the runs of one arm on many draws of the
data. If the study has a single draw with many seeds, the runs on this draw are in `published/<method>`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.cards import drawn_by
from jaxreg.lab.stats.directions import is_limit, off
from jaxreg.lab.stats.lanes import OVER, finite
from jaxreg.lab.sweeps.joined import open_store

PUBLISHED = "published"
FRESH = "fresh"
NONE = "none"
"""The label of the baseline: no penalty and no constraint."""
BY_NAME = "by the name and the values of the axis"
"""Default of the argument `baseline`, a marker: the name and the values of the axis determine the baseline."""
AXIS = "axis:"
"""Prefix of coordinates in the result of `by_recipe`. They hold the numeric axes of a sweep with several axes."""
_FILE = "study.json"
_LOSSES = {
    "train_loss": ("train_loss", "train"),
    "validation_loss": ("validation_loss", "validation", "val_loss", "val"),
    "test_loss": ("test_loss", "test"),
}
"""Names of the losses of a sweep; of several names for one loss, the first counts."""


class ArmRecord(NamedTuple):
    """A regulariser of a stored case study, with every strength that was tried.

    Args:
        method: Name of the regulariser.
        strengths: The strengths; empty for a regulariser without strength. Each strength is a number, or a list of
            numbers if the regulariser takes several.
        labels: Label of each recipe.
        quantity: Meaning of a strength: "strength" for a penalty, "limit" for a constraint.
        code: Python code of each recipe's regulariser.
    """

    method: str
    strengths: Sequence[float | Sequence[float]]
    labels: Sequence[str]
    quantity: str
    code: Sequence[str]

    @property
    def numbers(self) -> list[float]:
        """Strength of each recipe as one number; NaN for a recipe with no strength or with several."""
        return [s if isinstance(s, int | float) else float("nan") for s in self.strengths or [()]]


class Claim(NamedTuple):
    """A statement about two recipes, to be tested on draws of the data.

    Args:
        words: The claim in words.
        recipe: Label of the recipe that the claim is about.
        against: Label of the recipe to compare with.
        variable: Variable to compare at the end of the training, such as "test_accuracy", "norm/hidden/kernel" or an
            output that the study adds.
        sign: 1 if the claim says that the variable is larger for `recipe` than for `against`, -1 if it says smaller, 0
            if it says equal.
        margin: Size up to which a difference is ignored, in the units of the variable. With a sign of 1 or -1, the
            difference must exceed the margin. With a sign of 0, the difference must lie within ±margin, so use a margin
            above 0.
    """

    words: str
    recipe: str
    against: str = NONE
    variable: str = "test_accuracy"
    sign: int = 1
    margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class StudyInfo:
    """Description of a case study, stored with its results.

    Args:
        name: Name of the study and of its folder.
        title: Title, in one line.
        published: Published accuracy on training and test rows, by recipe label.
        highlights: Labels of the most important recipes. The report plots the first of them next to the baseline if it
            recommends no recipe.
        grid: Method whose strengths are plotted; empty for none.
        claims: Claims to test on the draws.
        source: Source of the published accuracies.
        drawn_from: Short description of the fixed rows from which all draws are sampled, such as "1,797 digits". The
            report prints it. Empty if each draw is new data.
    """

    name: str
    title: str
    _: dataclasses.KW_ONLY
    published: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    highlights: Sequence[str] = ()
    grid: str = ""
    claims: Sequence[Claim] = ()
    source: str = ""
    drawn_from: str = ""


@dataclasses.dataclass(frozen=True)
class Record(StudyInfo):
    """Content of `study.json`: the description of a case study, without its results.

    Args:
        arms: Arms of the study.
        epochs: Number of training epochs. Results with other numbers of epochs are not comparable.
        command: Command that produced the results.
        loss: Name of the loss.
        unit: Unit of the loss.
        points: Points of the fixed data, for plots: dict from a part, such as "train", to rows of (first feature,
            second feature, class). Empty if the study has no fixed data, or if the data does not have two features.
    """

    arms: Sequence[ArmRecord]
    epochs: int
    command: str = ""
    loss: str = "cross-entropy"
    unit: str = "nats"
    points: Mapping[str, Sequence[Sequence[float]]] = dataclasses.field(default_factory=dict)

    @property
    def draws(self) -> str:
        """Text that describes the draws, such as "fresh draws of the data"."""
        return f"draws from the same {self.drawn_from}" if self.drawn_from else "fresh draws of the data"

    def arm(self, method: str) -> ArmRecord:
        """Return the `ArmRecord` with the given method."""
        return next(arm for arm in self.arms if arm.method == method)


class StudyResults(NamedTuple):
    """Stored results of a case study.

    Args:
        record: Description of the study, without the results.
        published: Results of many seeds on one fixed data set, such as published data. This data set counts as a single
            draw. The dimensions are recipe, seed, draw and epoch. None if the study has no fixed data.
        fresh: Results on many draws of the data. The dimensions are recipe, seed, draw and epoch.
    """

    record: Record
    published: xr.Dataset | None
    fresh: xr.Dataset

    def __repr__(self) -> str:
        parts = {"published": self.published, "fresh": self.fresh}
        sizes = [f"{name}: {dict(part.sizes)}" for name, part in parts.items() if part is not None]
        return f"StudyResults({self.record.title!r}, {', '.join(sizes)})"

    def _repr_html_(self) -> str:
        return drawn_by("jaxreg.lab.report.compose", self)


def store_folder(folder: Path, kind: str, method: str) -> Path:
    """Return the folder in which the results of one regulariser (arm) are stored."""
    return folder / kind / method


def write_record(record: Record, folder: Path) -> None:
    """Write `study.json` into `folder` atomically: the whole file, or nothing."""
    write_whole(folder / _FILE, json.dumps(dataclasses.asdict(record), indent=1) + "\n")


def is_study(folder: Path) -> bool:
    """Return whether a folder holds a case study, finished or unfinished."""
    return (folder / _FILE).exists()


def open_study(folder: Path) -> StudyResults:
    """Read the results of a case study from the folder in which `run_study` stored them.

    Args:
        folder: Folder of the case study.

    Returns:
        A `StudyResults`: the description of the study, and the training curves of all recipes and runs as xarray
        datasets.

    Raises:
        ValueError: If the folder has no readable `study.json`, or results of some runs are missing or damaged.
        FileNotFoundError: If the results of a regulariser are missing entirely.
    """
    try:
        fields = json.loads((folder / _FILE).read_text())
        arms, claims = [ArmRecord(*arm) for arm in fields["arms"]], [Claim(*claim) for claim in fields["claims"]]
        record = Record(**fields | {"arms": arms, "claims": claims})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"the folder {str(folder)!r} holds no readable case study ({_FILE}: "
            f"{f'no entry {error}' if isinstance(error, KeyError) else error}). Run a study into this folder first"
        ) from error
    seeds = _joined(record, folder, PUBLISHED) if (folder / PUBLISHED).is_dir() else None
    return StudyResults(record, seeds, _joined(record, folder, FRESH))


def _joined(record: Record, folder: Path, kind: str) -> xr.Dataset:
    arms = [_recipes(arm, open_store(store_folder(folder, kind, arm.method)).load()) for arm in record.arms]
    whole = xr.concat(arms, "recipe", data_vars="all", join="exact", combine_attrs="drop_conflicts")
    return whole.assign_attrs(loss=record.loss, unit=record.unit)


def _recipes(arm: ArmRecord, results: xr.Dataset) -> xr.Dataset:
    if not arm.strengths:
        results = results.expand_dims(strength=[np.nan])
    methods = [NONE if label == NONE else arm.method for label in arm.labels]
    strengths = [0.0 if label == NONE else s for s, label in zip(arm.numbers, arm.labels, strict=True)]
    named = results.assign_coords(recipe=("strength", list(arm.labels)), method=("strength", methods))
    return named.swap_dims(strength="recipe").assign_coords(strength=("recipe", strengths))


def open_sweep(folder: str | Path, baseline: Any = BY_NAME) -> xr.Dataset:
    """Read a stored training sweep. All axes except `seed` and `draw` are combined into one dimension, `recipe`.

    Args:
        folder: Folder of a sweep. The function of the sweep must train a model, as `jaxreg.lab.fit` does.
        baseline: Value that means no regulariser, for a sweep with a single axis besides `seed` and `draw`. None means
            no baseline. By default, the name and the values of the axis determine the baseline, as explained in
            `by_recipe`. A sweep with several such axes has no baseline.

    Raises:
        FileNotFoundError: If the folder holds no store.
        ValueError: If the store is damaged or unfinished, or the sweep has no loss on test rows. If a value is given as
            `baseline`, but the sweep does not have exactly one axis besides `seed` and `draw`, or the value is not on
            this axis.

    Example:
        A value of -1 in `diverged_at` means that the run did not diverge. By default, `l2=0.0` is the baseline "none".

        >>> import tempfile
        >>> from jaxreg.lab import sweep
        >>> def run(l2, seed):
        ...     return {"test_loss": (l2 - seed) ** 2, "diverged_at": -1 + 0 * seed}
        >>> with tempfile.TemporaryDirectory() as store:
        ...     _ = sweep(run, {"l2": [0.0, 0.5], "seed": [0, 1]}, store)
        ...     open_sweep(store)["recipe"].values.tolist()
        ['none', 'l2=0.5']
    """
    return by_recipe(open_store(folder), str(folder), baseline)


def by_recipe(sweep: xr.Dataset, name: str = "", baseline: Any = BY_NAME) -> xr.Dataset:
    """Combine all axes of a training sweep except `seed` and `draw` into one dimension, `recipe`.

    Each combination of values on these axes gets a label, such as "l2=0.001". If there is only one such axis, and it is
    numeric, its values also become the coordinate `strength`.

    The baseline is the setting without a regulariser. Its label is "none". Only a sweep with a single axis (besides
    `seed` and `draw`) can have a baseline. The returned dataset has an attribute `none`: a text that says which setting
    is the baseline and why, or why there is no baseline. If the sweep already has a dimension `recipe`, its labels are
    kept, and this attribute is not added.

    Args:
        sweep: Results of `jaxreg.lab.sweep`. The loss on test rows must be named `test_loss` or `test`. A loss on
            training rows is used if it is named `train_loss` or `train`. A loss on validation rows is used if it is
            named `validation_loss`, `validation`, `val_loss` or `val`. Without a variable `diverged_at`, a run with a
            non-finite test loss counts as diverged.
        name: Name of the sweep in error messages. If it is empty, they say "the dataset".
        baseline: For a sweep with one axis besides `seed` and `draw`, the value of this axis that means no regulariser.
            None means no baseline. By default (the marker `BY_NAME`), the baseline is infinity on an axis that contains
            infinity, and otherwise 0 on an axis that contains 0. But 0 is not the baseline of an axis with negative
            values. Neither is it the baseline of an axis named like a limit (such as `max_norm` or `radius`) or a
            logarithm (such as `log_l2`).

    Raises:
        ValueError: If the sweep has no loss on test rows. If a loss on test or validation rows has a dimension other
            than `epoch` and the axes. If `baseline` is a value, but the sweep does not have exactly one axis besides
            `seed` and `draw`. If `baseline` is a value that is not on this axis. If `baseline` is given, but the sweep
            already has a dimension `recipe`.

    Example:
        >>> losses = xr.DataArray([[0.5, 0.4], [0.3, 0.2]], dims=("l2", "draw"), coords={"l2": [0.0, 0.1]})
        >>> by_recipe(xr.Dataset({"test": losses}))["test_loss"].sel(recipe="l2=0.1").values.tolist()
        [0.3, 0.2]
    """
    name = f"the sweep {name!r}" if name else "the dataset"
    dataset = sweep.load()
    outputs = dataset.data_vars
    found = {loss: next((given for given in names if given in outputs), "") for loss, names in _LOSSES.items()}
    dataset = dataset.rename({given: loss for loss, given in found.items() if given})
    if "test_loss" not in dataset.data_vars:
        raise ValueError(
            f"{name} has {f'the outputs {[*map(str, sweep)]}' if len(sweep) else 'no outputs'}; expected an output "
            "named 'test_loss' or 'test', the loss on test rows"
        )
    _check_losses(dataset, found, name)
    if "diverged_at" not in dataset.data_vars:
        loss = dataset["test_loss"]
        fine = finite(loss).all([dim for dim in loss.dims if dim == "epoch"])
        dataset = dataset.assign(diverged_at=-fine.astype(int))
    if "recipe" in dataset.dims:
        if baseline is not BY_NAME:
            raise ValueError(
                f"`baseline` is {baseline!r}, but {name} already has a dimension 'recipe', in which the label {NONE!r} "
                "marks the baseline. Leave out `baseline`, and give this label to the runs without a regulariser. Or "
                "pass the dataset without labels, as `sweep` returned it"
            )
        return dataset
    axes = [str(dim) for dim in dataset["diverged_at"].dims if dim not in OVER]
    values = [dataset[axis].values for axis in axes]
    numbers = [np.issubdtype(each.dtype, np.number) for each in values]
    numeric = numbers == [True]
    places, told = _baseline(axes, values, baseline, name)
    points = list(product(*values))
    labels = [NONE if place in places else _label(axes, point) for place, point in enumerate(points)]
    strength = values[0].astype(float) if numeric else np.full(len(labels), np.nan)
    inside = strength[places].size and 0 < abs(strength[places][0]) < np.inf  # a value between the others
    method = ", ".join(axes) or "all"
    methods = [NONE if label == NONE and not inside else method for label in labels]
    flat = dataset.stack(recipe=axes, create_index=False) if axes else dataset.expand_dims("recipe")
    several = [axis for axis, number in zip(axes, numbers, strict=True) if number and len(axes) > 1]
    kept = {f"{AXIS}{axis}": ("recipe", flat[axis].values) for axis in several}
    flat = flat.drop_vars(axes).assign_coords(
        {
            **kept,
            "recipe": labels,
            "method": ("recipe", methods),
            "strength": ("recipe", strength),
        }
    )
    flat = flat.assign_attrs(none=told, **({} if baseline is BY_NAME else {"none_argument": _code(_plain(baseline))}))
    return flat if set(OVER) & set(flat["diverged_at"].dims) else flat.expand_dims(seed=[0])


def _code(value: Any) -> str:
    return f"float('{value}')" if isinstance(value, float) and not np.isfinite(value) else repr(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value


def _baseline(axes: list[str], values: list[np.ndarray], given: Any, sweep: str) -> tuple[list[int], str]:
    """Return the place of the setting without a regulariser, if there is one, and a sentence that says why it is it."""
    if given is None:
        return [], "There is no baseline, because `baseline` is None."
    if len(axes) != 1:
        if given is not BY_NAME:
            raise ValueError(
                f"`baseline` is {given!r}, but {sweep} has the axes {', '.join(axes) or '(none)'}; expected exactly "
                "one axis besides seed and draw, because `baseline` is a value of that axis. Keep the axis of the "
                "baseline, and select one value of every other axis first, such as found.sel(rate=0.1)"
            )
        return [], "There is no baseline, because the sweep has several axes." if axes else ""
    (axis,), (found,) = axes, values
    numeric = np.issubdtype(found.dtype, np.number)
    value = (off(axis, found) if numeric else None) if given is BY_NAME else _plain(given)
    if value is None:
        if numeric and (found == 0).any() and is_limit(axis, found):
            return [], (
                f"There is no baseline. By its name, {axis} is a limit, and a limit of 0 sets all weights to 0. Add "
                "the limit jnp.inf, which has no effect, or pass the value to compare with, baseline=VALUE."
            )
        return [], (
            f"There is no baseline: the name and the values of {axis} do not show which value has no effect. Pass the "
            "value to compare with, baseline=VALUE."
        )
    try:
        same = np.isclose(found, value, rtol=1e-6, atol=0) if numeric else found == value
        places = np.flatnonzero(same).tolist()
    except TypeError:
        places = []
    label = _label(axes, (value,))
    if not places:
        raise ValueError(f"`baseline` is {given!r}; expected a value of the axis {axis!r}: {found.tolist()}")
    if given is not BY_NAME:
        return places, f"“{NONE}” is {label}: it was given as the baseline."
    if value == 0:
        return places, (
            f"“{NONE}” is {label}: a strength of 0 has no effect. If 0 means something else on this axis, pass the "
            "value that means no regulariser, baseline=VALUE, or baseline=None."
        )
    return places, f"“{NONE}” is {label}: an infinite limit has no effect."


def _check_losses(dataset: xr.Dataset, found: Mapping[str, str], sweep: str) -> None:
    """Raise if a loss on test or validation rows has a dimension that is neither an axis nor `epoch`.

    An axis is a dimension of all losses. It has a coordinate, or its name is `seed` or `draw`.
    """
    present = [dataset[name] for name in (*found, "diverged_at") if name in dataset.data_vars]
    shared = set.intersection(*(set(loss.dims) for loss in present))
    axes = {dim for dim in shared if dim in dataset.coords or dim in OVER}
    for name in ("test_loss", "validation_loss"):
        dims = dataset[name].dims if name in dataset.data_vars else ()
        if inner := [dim for dim in dims if dim not in {*axes, "epoch"}]:
            raise ValueError(
                f"{sweep} has the output {found[name]!r} with the dimension {inner[0]!r}, which is not an axis; "
                f"expected one number per run, or one per epoch. In the function of the sweep, return the last value, "
                "or Labelled(values, ('epoch',))"
            )


def _label(axes: list[str], point: tuple[Any, ...]) -> str:
    shown = [f"{value:g}" if isinstance(value, float | np.floating) else str(value) for value in point]
    return ", ".join(f"{axis}={value}" for axis, value in zip(axes, shown, strict=True)) or "all"
