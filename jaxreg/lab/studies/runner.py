"""Run a case study: train all recipes on many draws of the data, and store the results.

A study may also have a single draw of special interest, such as published data. Every recipe is then also trained on
this draw, from many initialisations.

All recipes share seeds and draws, so that comparisons are paired. Within a recipe, each run has its own initial weights
and its own order of rows. If all runs of a recipe shared one initialisation, they would not be independent, and an
interval would ignore the variation between initialisations.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from jaxreg._protocols import Tree
from jaxreg.lab.data import Data
from jaxreg.lab.models import Model
from jaxreg.lab.studies.decision_surface import Window, window
from jaxreg.lab.studies.results import FRESH, PUBLISHED, StudyResults, open_study, store_folder, write_record
from jaxreg.lab.studies.study import Arm, Size, Study
from jaxreg.lab.sweeps.engine import prepare
from jaxreg.lab.sweeps.options import SweepOptions
from jaxreg.lab.sweeps.store import open_folder
from jaxreg.lab.training.loop import fit
from jaxreg.lab.training.problem import Problem
from jaxreg.rules._matching import leaves


def run_study(study: Study, size: Size, out: Path, command: str = "") -> StudyResults:
    """Train every recipe of `study` and store the results in the folder `out`. Finished results are reused.

    Every recipe is trained on `size.draws` random draws of the data, which `study.draws` makes. If `study.data` is
    given, every recipe is also trained on this fixed data, from `size.seeds` seeds.

    Args:
        study: Study to run.
        size: Number of seeds, draws and epochs.
        out: Folder for the results.
        command: Command that runs the study again; it is stored with the results.

    Returns:
        A `StudyResults`. Its fields `fresh` (random draws) and `published` (fixed data, or None) are datasets with the
        curves that `jaxreg.lab.fit` returns. Their dimensions include recipe, seed, draw and epoch.

    Raises:
        ValueError: If `study` is not a `Study` or `size` is not a `Size`. If `out` is a file or holds other results. If
            `study.draws(n)` does not return a `Data` with n draws, or `study.data` is not a `Data` with a single draw.
            If a `Claim` of the study compares a variable that is neither a result of `fit` nor an output of the study.
            The study, the data and the claims are checked before any training.
    """
    if not isinstance(study, Study) or not isinstance(size, Size):
        raise ValueError(
            f"run_study: `study` is a {type(study).__name__} and `size` is a {type(size).__name__}; expected a Study "
            "and a Size"
        )
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder, or a path that does not exist. Choose another path")
    fresh = _of_draws(f"study.draws({size.draws})", study.draws(size.draws), size.draws)
    seeds, draws = np.arange(size.seeds if study.data is None else 1), np.arange(size.draws)
    conditions = [_Condition(FRESH, fresh, {"seed": seeds, "draw": draws}, points=10)]
    if study.data is not None:
        over = {"seed": np.arange(size.seeds), "draw": np.arange(1)}
        data = _of_draws("study.data", study.data, 1)
        conditions.insert(0, _Condition(PUBLISHED, data, over, points=200, window=window(study.model, data)))
    record = study.record(command)
    ready: Callable[[], xr.Dataset] | None = None
    for prepared in chain(_prepared(study, conditions, size.epochs, out), [None]):
        if ready is not None:  # it runs while the next one compiles, which is prepared already
            ready()
        ready = prepared
    write_record(record, out)
    return open_study(out)


def _of_draws(what: str, data: Any, count: int) -> Data:
    # JAX clamps indices: a draw after the last one would silently be the last one again.
    if not isinstance(data, Data) or len(data.x_train) != count:
        found = f"a Data with {len(data.x_train)} draws" if isinstance(data, Data) else repr(data)
        raise ValueError(f"`{what}` is {found}; expected a jaxreg.lab.Data with {count} draws")
    return data


class _Condition(NamedTuple):
    """Data on which every arm is trained, and the settings of these sweeps.

    Args:
        kind: `FRESH` for many draws, `PUBLISHED` for the single draw with many seeds.
        data: Data of the draws.
        over: Seeds and draws of the sweep.
        points: Smallest number of epochs to record, if the training has that many.
        window: Grid for the decision surface, or None.
    """

    kind: str
    data: Data
    over: Mapping[str, np.ndarray]
    points: int
    window: Window | None = None


def _prepared(
    study: Study, conditions: Sequence[_Condition], epochs: int, out: Path
) -> Iterator[Callable[[], xr.Dataset]]:
    for condition, arm in product(conditions, study.arms):
        problem = Problem(
            arm.model or study.model,
            condition.data,
            epochs,
            study.task.loss,
            study.task.metrics,
            study.batch_size,
            record_every=_divisor(epochs, condition.points),
        )
        store = store_folder(out, condition.kind, arm.method)
        strengths = {"strength": np.asarray(arm.strengths)} if arm.strengths else {}
        places = {} if condition.window is None else condition.window._asdict()
        lane = _lane(arm, problem, study.outputs, condition.window)
        options = SweepOptions(coords={"epoch": problem.recorded, **places})
        ready = prepare(lane, {**strengths, **condition.over}, store, options)
        measured = open_folder(store).manifest.outputs
        if unknown := sorted({claim.variable for claim in study.claims} - measured.keys()):
            raise ValueError(
                f"study {study.name!r} has a claim about {unknown[0]!r}, which is not measured; expected one of "
                f"{', '.join(map(repr, measured))}"
            )
        yield ready


def _lane(
    arm: Arm, problem: Problem, further: Callable[[Any], Mapping[str, jax.Array]] | None, places: Window | None
) -> Callable[..., dict[str, Any]]:
    one = any(not isinstance(strength, tuple) for strength in arm.strengths)

    def run(seed: jax.Array, draw: jax.Array, strength: Any = ()) -> dict[str, Any]:
        recipe = arm.recipe(strength) if one else arm.recipe(*strength)
        lane = fit(problem, recipe, jax.random.fold_in(jax.random.key(seed), draw), draw, keep=True)
        params = _parameters(problem.model, lane)
        if places is None:  # the weights of all runs would take more space than all other results
            lane = {name: values for name, values in lane.items() if not name.startswith("params/")}
        else:
            lane["probability"] = places.probability(problem.model, params)
        more = further(params) if further else {}
        if not isinstance(more, Mapping):
            raise ValueError(f"the function `outputs` returned {more!r}; expected a dict from names to numbers")
        if taken := [name for name in more if name in lane]:
            raise ValueError(
                f"the function `outputs` returned the name {taken[0]!r}, which the training itself uses; expected "
                f"names other than {', '.join(map(repr, lane))}"
            )
        return lane | dict(more)

    return run


def _parameters(model: Model, lane: Mapping[str, Any]) -> Tree:
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    weights = [lane[f"params/{leaf.path}"] for leaf in leaves(shapes)]
    return jax.tree.unflatten(jax.tree.structure(shapes), weights)


def _divisor(epochs: int, points: int) -> int:
    # The largest divisor of the number of epochs that gives at least `points` points, if there are that many epochs.
    return next(step for step in range(max(epochs // points, 1), 0, -1) if epochs % step == 0)
