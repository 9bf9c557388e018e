"""Definition of a case study: recipes, their strengths, claims and published accuracies."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxreg as jr
from jaxreg._checks import check_integer
from jaxreg._hyperparameters import known
from jaxreg.lab.data import Data
from jaxreg.lab.models import Model
from jaxreg.lab.studies.results import NONE, ArmRecord, Record, StudyInfo
from jaxreg.lab.training.recipe import Recipe
from jaxreg.lab.training.tasks import BINARY, Task

Strength = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm of a study: a regulariser with all its strengths. One compiled program trains all of them.

    Args:
        method: Name of the regulariser.
        recipe: Function that takes a strength and returns its `Recipe`. The numbers of a tuple are passed as separate
            arguments. All numbers are traced. If there are no strengths, the function takes no arguments.
        strengths: Strengths to try, each a number or a tuple of numbers. The baseline is the strength with the label
            "none". It must mean no regulariser, as 0 does for a penalty and infinity for a limit.
        label: Format string, such as "L2({0:g})", which is filled in with each strength. A strength of 0 or infinity,
            or a tuple of only these numbers, gets the label "none" instead. So do not try a limit of 0: it would be
            taken for the baseline. By default, the label is the method with the first number of the strength, such as
            "L2(0.001)". A list with one label per strength also works. In the list, the label of the baseline must be
            "none".
        quantity: Word for the strengths in the report, such as "strength" for a penalty or "limit" for a constraint.
        model: Model to train instead of the study's model, with weights of the same shapes.

    Raises:
        ValueError: If `method` cannot be the name of the folder for the results. If a strength is not a number or a
            tuple of numbers, or the strengths have different lengths. If the number of labels does not match the number
            of strengths. If `recipe` does not take the numbers of a strength as arguments.
    """

    method: str
    recipe: Callable[..., Recipe]
    strengths: Sequence[Strength] = ()
    label: str | Sequence[str] = ""
    quantity: str = "strength"
    model: Model | None = None

    def __post_init__(self) -> None:
        method, strengths = self.method, self.strengths
        if not isinstance(method, str) or method in ("", "..") or Path(method).name != method:
            raise ValueError(f"an arm's `method` is {method!r}; expected a string that can be a folder name")
        if not callable(self.recipe):
            raise ValueError(
                f"arm {method!r}: `recipe` is {self.recipe!r}; expected a function that takes a strength and returns a "
                "Recipe"
            )
        if isinstance(strengths, str) or not np.iterable(strengths):
            raise ValueError(
                f"arm {method!r}: `strengths` is {strengths!r}; expected a sequence, such as ({strengths!r},)"
            )
        strengths = _plain(tuple(strengths))
        for strength in strengths:
            if not all(map(_is_number, _numbers(strength))):
                raise ValueError(
                    f"arm {method!r}: a strength is {strength!r}; expected a number, or a tuple of numbers"
                )
        if len({np.shape(strength) for strength in strengths}) > 1:
            raise ValueError(
                f"arm {method!r}: `strengths` is {strengths!r}; expected entries of equal length, for example all "
                "plain numbers or all pairs"
            )
        object.__setattr__(self, "strengths", strengths)
        count = len(_numbers(strengths[0])) if strengths else 0
        try:
            inspect.signature(self.recipe).bind(*range(count))
        except TypeError as error:
            numbers = f"{count} number{'s' if count > 1 else ''}"
            expected = (
                f"Each strength of this arm consists of {numbers}, so `recipe` must take {count} argument"
                f"{'s' if count > 1 else ''}"
                if strengths
                else "This arm has no strengths, so `recipe` must take no arguments"
            )
            raise ValueError(
                f"arm {method!r}: `recipe` can't be called with {numbers if strengths else 'no arguments'} ({error}). "
                f"{expected}"
            ) from None
        try:
            labels = self.labels()
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"arm {method!r}: `label` is {self.label!r}, which can't be formatted with the strengths ({error}); "
                f"expected a format string such as {method + '({0:g})'!r}, or a list with one label per strength"
            ) from None
        if len(labels) != max(len(strengths), 1):
            raise ValueError(
                f"arm {method!r}: there are {len(labels)} labels for {len(strengths)} strengths; expected one label "
                "per strength, or a single label for an arm without strengths"
            )

    def labels(self) -> list[str]:
        """Return the labels of the recipes, one per strength."""
        if not isinstance(self.label, str):
            return list(self.label)
        label = self.label or self.method + "({0:g})"
        idle = [all(number in (0, math.inf) for number in _numbers(s)) for s in self.strengths]
        named = [NONE if i else label.format(*_numbers(s)) for i, s in zip(idle, self.strengths, strict=True)]
        return named or [self.label or self.method]

    def record(self) -> ArmRecord:
        """Return the arm as a record that can be stored in `study.json`."""
        labels = self.labels()
        recipes = [
            Recipe() if label == NONE else self.recipe(*_numbers(s))
            for s, label in zip(self.strengths or ((),), labels, strict=True)
        ]
        for recipe in recipes:
            if not isinstance(recipe, Recipe):
                raise ValueError(f"arm {self.method!r}: `recipe` returned {recipe!r}; expected a jaxreg.lab.Recipe")
        return ArmRecord(self.method, tuple(self.strengths), labels, self.quantity, list(map(_code, recipes)))


@dataclasses.dataclass(frozen=True)
class Size:
    """Size of a case study: the numbers of seeds, draws of the data and epochs.

    Args:
        seeds: Number of seeds for the initial weights. A study trains on random draws, and also on the fixed data
            `Study.data` if it is given. Without `Study.data`, all seeds are used on each draw. With `Study.data`, all
            seeds are used on this fixed data, but only the first seed on each draw.
        draws: Number of random draws of the data, from `Study.draws`.
        epochs: Number of training epochs.

    Raises:
        ValueError: If a number is not an integer of at least 1.
    """

    seeds: int = 32
    draws: int = 64
    epochs: int = 4000

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            whole = check_integer(value, f"`{name}`", 1)
            object.__setattr__(self, name, whole)  # in a form that `study.json` can store


@dataclasses.dataclass(frozen=True)
class Study(StudyInfo):
    """A case study: the model, the data, the arms (regularisers) to compare, and the claims to test.

    Args:
        name: Name of the study and of its folder.
        title: Title, in one line.
        model: Model to train.
        draws: Function that takes a number n and returns a `Data` with n random draws.
        arms: Arms to compare. Each strength of an arm gives one recipe. One of the recipes must be the baseline: a
            recipe with the label "none" and no regulariser.
        task: Type of the targets, with its loss and metrics: `BINARY`, `CLASSES` or `NUMBERS`.
        data: Fixed data, such as published data, as a `Data` with one draw. Every recipe is trained on this data from
            many seeds. None for no such data.
        outputs: Function that takes the final weights of a run and returns a dict from names to numbers. The report
            shows these numbers in its table of the trained weights. Claims may be about them.
        batch_size: Number of rows per optimiser step.
        size: Numbers of seeds, draws and epochs of the whole study.
        quick: Numbers of seeds, draws and epochs of a short trial, `jaxreg run --quick`.
        published: Dict from the label of a recipe to its published accuracies on the training and the test rows of
            `data`.
        highlights: Labels of the most important recipes. The report plots the baseline and one other recipe: the
            one that it recommends, or the first recipe in `highlights` if it recommends none. A table of the report
            compares published and measured gains in accuracy over the baseline. It lists the recipes in `highlights`
            that have published accuracies.
        grid: Name (`method`) of the arm whose results are plotted against its strengths. Empty for no such plot.
        claims: Claims to test on the draws.
        source: Source of the published accuracies.
        drawn_from: Short description of the fixed rows from which all draws are sampled, such as "1,797 digits". The
            report prints it. Empty if each draw is new data.

    Raises:
        ValueError: If an argument has the wrong type. If two arms or two recipes have the same name, or two claims the
            same text. If a label in `published`, `highlights` or `claims` is not the label of a recipe. If `grid` is
            not the `method` of an arm.
    """

    model: Model
    draws: Callable[[int], Data]
    arms: Sequence[Arm]
    task: Task = BINARY
    data: Data | None = None
    outputs: Callable[[Any], Mapping[str, jax.Array]] | None = None
    batch_size: int = 32
    size: Size = Size()
    quick: Size = Size(seeds=4, draws=8, epochs=200)

    def __post_init__(self) -> None:
        for name, kind in (("model", Model), ("task", Task), ("size", Size), ("quick", Size)):
            if not isinstance(value := getattr(self, name), kind):
                what = f"`{name}` is of type {type(value).__name__}"
                raise ValueError(f"study {self.name!r}: {what}; expected a jaxreg.lab.{kind.__name__}")
        if not callable(self.draws):
            raise ValueError(
                f"study {self.name!r}: `draws` is {self.draws!r}; expected a function that takes a number of draws and "
                "returns a Data"
            )
        if not self.arms or not all(isinstance(arm, Arm) for arm in self.arms):
            raise ValueError(f"study {self.name!r}: `arms` is {self.arms!r}; expected a sequence with at least one Arm")
        labels = [label for arm in self.arms for label in arm.labels()]
        for what, names in (("arms", [arm.method for arm in self.arms]), ("recipes", labels)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                why = f". A recipe with strength 0 or an infinite limit is named {NONE!r}, so only one arm may have one"
                raise ValueError(
                    f"study {self.name!r} has two {what} named {twice[0]!r}; expected different names"
                    f"{why if NONE in twice else ''}"
                )
        named = {*self.highlights, *self.published, *(c.recipe for c in self.claims), *(c.against for c in self.claims)}
        if unknown := sorted(named.difference(labels, {NONE})):
            raise ValueError(
                f"study {self.name!r}: `highlights`, `published` or `claims` contain {unknown[0]!r}, which is not the "
                f"label of a recipe; expected one of {', '.join(map(repr, labels))}"
            )
        words = [claim.words for claim in self.claims]
        if len(set(words)) < len(words):
            raise ValueError(f"study {self.name!r} has two claims with the same text; expected different texts")
        if self.grid and self.grid not in [arm.method for arm in self.arms]:
            raise ValueError(
                f"study {self.name!r}: `grid` is {self.grid!r}; expected the name (`method`) of one of the study's arms"
            )

    def record(self, command: str) -> Record:
        """Return the study as a record that can be stored in `study.json`.

        Args:
            command: Command that runs the study again.
        """
        return Record(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(StudyInfo)},
            arms=[arm.record() for arm in self.arms],
            epochs=self.size.epochs,
            command=command,
            loss=self.task.words,
            unit=self.task.unit,
            points={} if self.data is None else _points(self.data),
        )


def _points(data: Data) -> dict[str, list[list[float]]]:
    if data.x_train.shape[2:] != (2,):
        return {}
    return {part: np.column_stack([x[0], y[0]]).tolist() for part, (x, y) in data.parts().items()}


def _plain(strength: Any) -> Any:
    # In a form that `study.json` can store.
    if isinstance(strength, np.ndarray | np.generic | jax.Array):
        strength = strength.tolist()
    return tuple(map(_plain, strength)) if isinstance(strength, list | tuple) else strength


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _numbers(strength: Strength) -> tuple[float, ...]:
    return strength if isinstance(strength, tuple) else (strength,)


def _code(recipe: Recipe) -> str:
    # Code of the regularisers, as a person would write it; empty if it needs more than numbers.
    links = [
        ("penalize", recipe.penalties, ()),
        ("decay", recipe.decays, ()),
        ("proximal", recipe.proximals, (recipe.learning_rate,)),
        ("project", recipe.constraints, ()),
    ]
    used = [(name, (rules, *more)) for name, rules, more in links if rules is not None]
    if not all(known(leaf) and np.ndim(leaf) == 0 for _, given in used for leaf in jax.tree.leaves(given)):
        return ""  # a schedule, a function of the user's or an array of weights
    return ",\n".join(f"jr.{name}({', '.join(map(_written, given))})" for name, given in used)


def _written(rules: Any) -> str:
    if isinstance(rules, Mapping):
        named = {getattr(jr, name): f"jr.{name}" for name in ("KERNELS", "RECURRENT_KERNELS", "BIASES", "EMBEDDINGS")}
        return "{" + ", ".join(f"{named.get(p, repr(p))}: {_written(rule)}" for p, rule in rules.items()) + "}"
    if isinstance(rules, np.number | jax.Array):
        rules = float(str(rules)) if np.issubdtype(rules.dtype, np.floating) else int(rules)  # 0.1, not 0.10000000149
    if isinstance(rules, float):
        return repr(float(rules)) if math.isfinite(rules) else f"float('{float(rules)}')"
    if not dataclasses.is_dataclass(rules):
        return repr(rules)
    if isinstance(rules, jr.Intersection):
        axis = [] if rules.axis is None else [f"axis={rules.axis!r}"]
        return f"jr.Intersection({', '.join([*map(_written, rules.parts), *axis])})"
    given = {field.name: getattr(rules, field.name) for field in dataclasses.fields(rules)}
    plain = {field.name: field.default for field in dataclasses.fields(rules)}
    shown = ", ".join(f"{name}={_written(value)}" for name, value in given.items() if value != plain[name])
    return f"jr.{type(rules).__name__}({shown})"
