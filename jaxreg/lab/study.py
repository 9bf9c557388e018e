"""A case study as data: which recipes, at which strengths, against which published figures; and the one way to run it.

Every recipe is trained twice over: on the published data from many initialisations, and on many fresh draws of the
data. All recipes share seeds and draws, so that comparisons are paired.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxreg as jr
from jaxreg.lab.data import Data
from jaxreg.lab.fit import Problem, Recipe, fit
from jaxreg.lab.models import Model
from jaxreg.lab.record import (
    FRESH,
    NONE,
    PUBLISHED,
    ArmRecord,
    Record,
    StudyResults,
    open_study,
    store_folder,
    write_record,
)
from jaxreg.lab.surface import Window, window
from jaxreg.lab.sweep import sweep
from jaxreg.objects import Number


@dataclasses.dataclass(frozen=True)
class Arm:
    """One kind of regulariser: one compiled program.

    Args:
        method: Its name.
        recipe: The strength, a traced number, -> the recipe; or -> a recipe without one, if there are no strengths.
        strengths: The strengths to try; strength 0 of a penalty, or an infinite limit, which leaves every weight as
            it is, is the baseline and is labelled so.
        label: Format of one recipe's label, given the strength.
        quantity: What the strengths are: "strength" of a penalty, "limit" of a constraint.
    """

    method: str
    recipe: Callable[[Number], Recipe]
    strengths: Sequence[float] = ()
    label: str = ""
    quantity: str = "strength"

    def labels(self) -> list[str]:
        """The labels of the recipes, one a strength."""
        label = self.label or self.method + "({0:g})"
        return [NONE if s in (0, math.inf) else label.format(s) for s in self.strengths] or [self.label or self.method]

    def record(self) -> ArmRecord:
        """What is kept of it beside its numbers."""
        labels = self.labels()
        recipes = [
            Recipe() if label == NONE else self.recipe(s)
            for s, label in zip(self.strengths or (0.0,), labels, strict=True)
        ]
        return ArmRecord(self.method, tuple(self.strengths), labels, self.quantity, list(map(_code, recipes)))


@dataclasses.dataclass(frozen=True)
class Study:
    """A case study: the model, the data, the arms, and what was published.

    Args:
        name: Its name, and that of its folder.
        title: One line for people.
        model: What is trained.
        data: The published data, one draw.
        draws: number of draws -> that many fresh draws of the data.
        arms: What is compared; one of them holds the baseline.
        published: Label -> published accuracy on the training and on the test rows.
        highlights: Labels of the recipes that the pictures set beside the baseline.
        grid: The method whose strengths are drawn.
        source: Where the published figures are from.
        epochs: Epochs of the published training.
    """

    name: str
    title: str
    model: Model
    data: Data
    draws: Callable[[int], Data]
    arms: Sequence[Arm]
    published: Mapping[str, tuple[float, float]]
    highlights: Sequence[str]
    grid: str
    source: str = ""
    epochs: int = 4000


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of a study to run.

    Args:
        seeds: Initialisations on the published data.
        draws: Fresh draws of the data.
        epochs: Epochs of each training.

    Raises:
        ValueError: If a number is not at least 1.
    """

    seeds: int = 32
    draws: int = 64
    epochs: int = 4000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")


def run_study(study: Study, size: Size, out: Path, command: str = "") -> StudyResults:
    """Train every recipe of `study`, or read what an earlier call left in `out`.

    Args:
        study: What to compare.
        size: How many seeds, draws and epochs.
        out: Folder of the stores, one for each arm and kind of data.
        command: What a person would type to run it again; kept with the results.

    Returns:
        The curves of `jaxreg.lab.fit` on the published data and on fresh draws, as `open_study` reads them.

    Raises:
        ValueError: If `out` holds other results, or a file is in its way.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder, or a name that is free: choose another --out")
    points = _divisor(size.epochs, 200), _divisor(size.epochs, 10)
    problems = {
        PUBLISHED: Problem(study.model, study.data, size.epochs, record_every=points[0]),
        FRESH: Problem(study.model, study.draws(size.draws), size.epochs, record_every=points[1]),
    }
    over = {
        PUBLISHED: {"seed": np.arange(size.seeds), "draw": np.arange(1)},
        FRESH: {"seed": np.arange(1), "draw": np.arange(size.draws)},
    }
    places = {PUBLISHED: window(study.model, study.data), FRESH: None}
    for kind, problem in problems.items():
        for arm in study.arms:
            _run_arm(arm, problem, places[kind], over[kind], store_folder(out, kind, arm.method))
    write_record(
        Record(
            study.name,
            study.title,
            [arm.record() for arm in study.arms],
            study.published,
            study.highlights,
            study.grid,
            command,
            study.source,
            study.epochs,
            _points(study.data),
        ),
        out,
    )
    return open_study(out)


def _run_arm(arm: Arm, problem: Problem, places: Window | None, over: Mapping[str, np.ndarray], store: Path) -> None:
    def run(seed: jax.Array, draw: jax.Array, strength: Number = 0.0) -> dict[str, Any]:
        outputs = fit(problem, arm.recipe(strength), jax.random.key(seed), draw, keep=places is not None)
        if places is not None:
            outputs["probability"] = places.probability(problem.model, outputs)
        return outputs

    strengths = {"strength": np.asarray(arm.strengths)} if arm.strengths else {}
    seen = {} if places is None else places._asdict()
    sweep(run, {**strengths, **over}, store, coords={"epoch": problem.recorded, **seen})


def _points(data: Data) -> dict[str, list[list[float]]]:
    if data.x_train.shape[2:] != (2,):
        return {}
    return {part: np.column_stack([x[0], y[0]]).tolist() for part, (x, y) in data.parts().items()}


def _code(recipe: Recipe) -> str:
    # What of a recipe is regularisation, as a person writes it: the objects print as the code that makes them.
    rate = f", {recipe.learning_rate!r}"
    links = [
        ("penalize", recipe.penalties, ""),
        ("decay", recipe.decays, ""),
        ("proximal", recipe.proximals, rate),
        ("project", recipe.constraints, ""),
    ]
    return ", ".join(f"jr.{name}({_written(rules)}{more})" for name, rules, more in links if rules is not None)


def _written(rules: Any) -> str:
    if isinstance(rules, Mapping):
        named = {getattr(jr, name): f"jr.{name}" for name in ("KERNELS", "RECURRENT_KERNELS", "BIASES", "EMBEDDINGS")}
        return "{" + ", ".join(f"{named.get(p, repr(p))}: {_written(rule)}" for p, rule in rules.items()) + "}"
    if not dataclasses.is_dataclass(rules):
        return repr(rules)
    given = {field.name: getattr(rules, field.name) for field in dataclasses.fields(rules)}
    plain = {field.name: field.default for field in dataclasses.fields(rules)}
    return f"jr.{type(rules).__name__}({', '.join(f'{n}={v!r}' for n, v in given.items() if v != plain[n])})"


def _divisor(epochs: int, points: int) -> int:
    # The largest step that divides the epochs and leaves at least as many points, if the epochs allow it.
    return next(step for step in range(max(epochs // points, 1), 0, -1) if epochs % step == 0)
