"""Groups of candidates that train one kind of net, each by a program of its own, on one coding of the same rows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.search.candidates import OTHER, Candidate, Shape, shaped
from jaxreg.lab.search.clock import Clock, TooShortError
from jaxreg.lab.search.codings import coded, learn
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, prepare_training
from jaxreg.lab.search.plan import Plan, rounded


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one net.

    Args:
        setting: The static part of their trainings.
        table: The rows, with the inputs of the net.
        tried: The candidates.
        maps: Maps from standardised inputs to those of the net; empty if they are the same.
    """

    setting: Setting
    table: PaddedRows
    tried: tuple[Candidate, ...]
    maps: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def grouped(plan: Plan, setting: Setting, table: PaddedRows, tried: Sequence[Candidate]) -> list[Group]:
    """Return the group of the first net, and that of another net and coding if the plan leaves them open.

    Args:
        plan: The plan.
        setting: The static part of the trainings of the first net.
        table: The rows.
        tried: The candidates of the first net.
    """
    first = Group(setting, table, tuple(tried))
    inputs = int(table.inputs)
    numbers = table.scaled[:inputs] > 0
    others = shaped(plan.methods, OTHER if numbers.any() else Shape(OTHER.hidden, "plain")) if plan.open else []
    if not others:
        return [first]
    maps: dict[str, np.ndarray] = {}
    if numbers.any():
        plain = table.x[:, :inputs].astype(np.float64)
        maps = learn(plain, table.w, numbers)
        x = coded(maps, plain)
        fill = rounded(x.shape[1] + 1, 8) - 1 - x.shape[1]
        scaled = np.zeros(x.shape[1] + fill, np.float32)
        scaled[:inputs] = numbers
        table = table._replace(
            x=np.where(table.w[:, None] > 0, np.pad(x, [(0, 0), (0, fill)]), 0).astype(np.float32),
            scaled=scaled,
            inputs=np.float32(x.shape[1]),
        )
    return [first, Group(dataclasses.replace(setting, hidden=OTHER.hidden), table, tuple(others), maps)]


def trained(
    groups: Sequence[Group], parts: Sequence[Split], store: Path | None = None, clock: Clock | None = None
) -> list[dict[str, np.ndarray]]:
    """Train all groups, and return the results of each.

    Args:
        groups: The groups. All of their programs compile at once.
        parts: The splits.
        store: Folder of the sweep of the first group, or None; those of others lie beside it.
        clock: The clock that times the chunks, or None. Groups after the first are left out if they do not fit.
    """
    first = None if store is None else Path(store)
    folders = [first and (first.with_name(f"{first.name}-{place}") if place else first) for place in range(len(groups))]
    runs = [
        prepare_training(group.setting, group.table, group.tried, parts, folder, clock)
        for group, folder in zip(groups, folders, strict=True)
    ]
    results = [runs[0]()]
    for run in runs[1:]:
        if clock is not None and not clock.fits():
            break
        try:
            results.append(run())
        except TooShortError:
            break
    return results


def repeat_folder(store: Path, repeat: int) -> Path:
    """Return the folder of a repeat that a search with a budget trains by itself.

    Args:
        store: Folder of the first repeat.
        repeat: Number of the repeat, from 0.
    """
    return store if repeat == 0 else store.with_name(f"{store.name}-repeat-{repeat + 1}")


def joined(repeats: Sequence[dict[str, np.ndarray]], *, forward: bool) -> dict[str, np.ndarray]:
    """Join the results of repeats, each with its training on all rows at the end, in the order of the splits of all.

    Args:
        repeats: Name -> array of shape (candidates, splits, …), for each repeat.
        forward: Whether folds are predicted from those before them, where each repeat trains on all rows.
    """
    whole = repeats if forward else repeats[:1]

    def join(name: str) -> np.ndarray:
        left_out = [each[name][:, :-1] for each in repeats]
        return np.concatenate([*left_out, *(each[name][:, -1:] for each in whole)], axis=1)

    return {name: join(name) for name in repeats[0]}
