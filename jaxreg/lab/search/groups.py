"""Groups of candidates with the same network and the same coding of inputs. One compiled program trains a group."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.search.candidates import OTHER, Candidate, Shape, shaped
from jaxreg.lab.search.clock import Clock, TooShortError
from jaxreg.lab.search.codings import coded, learn
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, prepare_training
from jaxreg.lab.search.plan import Plan, rounded
from jaxreg.lab.sweeps.store import Store, find_manifest


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Candidates of a search that train the same network on the same inputs.

    Args:
        setting: Static settings of the training runs.
        table: Rows of the table, with the coded inputs.
        tried: The candidates.
        maps: Coding as learnt by `jaxreg.lab.search.codings.learn`; empty if inputs are not coded.
    """

    setting: Setting
    table: PaddedRows
    tried: tuple[Candidate, ...]
    maps: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def grouped(plan: Plan, setting: Setting, table: PaddedRows, tried: Sequence[Candidate]) -> list[Group]:
    """Group the candidates by their network. If `plan.open` is true, add candidates that train a second network.

    Args:
        plan: Plan of the search.
        setting: Static settings of the training runs of the first network.
        table: Rows of the table.
        tried: Candidates of the first network.
    """
    first = Group(setting, table, tuple(tried))
    inputs = int(table.inputs)
    numbers = table.scaled[:inputs] > 0
    if not plan.open:
        return [first]
    others = shaped(OTHER if numbers.any() else Shape(OTHER.hidden, "plain"))
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
    """Train the candidates of all groups, one group after another, and return the results of each group.

    Args:
        groups: The groups. Their programs are compiled at the same time.
        parts: The splits.
        store: Folder for finished training runs of the first group, or None. The folders of further groups are created
            next to this folder.
        clock: Clock of a search with a time budget, or None. Groups after the first group are skipped if there is too
            little time left.
    """
    first = None if store is None else Path(store)
    folders = [first and (first.with_name(f"{first.name}-{place}") if place else first) for place in range(len(groups))]
    stored = [folder is not None and _begun(folder) for folder in folders]
    runs = [
        prepare_training(group.setting, group.table, group.tried, parts, folder, clock)
        for group, folder in zip(groups, folders, strict=True)
    ]
    results = [runs[0]()]
    for run, there in zip(runs[1:], stored[1:], strict=True):
        if clock is not None and clock.first and not (there if clock.finished else clock.fits()):
            break
        try:
            results.append(run())
        except TooShortError:
            break
    return results


def _begun(store: Path) -> bool:
    # The folder of a group that was skipped contains no chunks.
    manifest = find_manifest(store)
    return manifest is not None and bool(Store(store, manifest).present())


def repeat_folder(store: Path, repeat: int) -> Path:
    """Return the folder in which one repeat of the cross-validation stores its training runs.

    Only a search with a time budget has one folder per repeat.

    Args:
        store: Folder of the first repeat.
        repeat: Number of the repeat, from 0.
    """
    return store if repeat == 0 else store.with_name(f"{store.name}-repeat-{repeat + 1}")


def joined(repeats: Sequence[dict[str, np.ndarray]], *, forward: bool) -> dict[str, np.ndarray]:
    """Join the training results of several repeats of the cross-validation.

    The last split of each repeat trains on all rows. These training runs are moved to the end.

    Args:
        repeats: Name -> array of shape (candidates, splits, …), for each repeat.
        forward: Whether each fold is predicted from the folds before it. If True, the training runs on all rows are
            kept from every repeat. If False, they are kept only from the first repeat.
    """
    whole = repeats if forward else repeats[:1]

    def join(name: str) -> np.ndarray:
        left_out = [each[name][:, :-1] for each in repeats]
        return np.concatenate([*left_out, *(each[name][:, -1:] for each in whole)], axis=1)

    return {name: join(name) for name in repeats[0]}
