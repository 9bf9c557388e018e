"""A case study on disk: a store for each arm and kind of data, and `study.json`, which says what they are."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab.results import dataset, open_store
from jaxreg.lab.store import open_folder

PUBLISHED = "published"
FRESH = "fresh"
KINDS = (PUBLISHED, FRESH)
NONE = "none"
"""The label of the baseline: no penalty and no constraint."""

_FILE = "study.json"


class ArmRecord(NamedTuple):
    """One kind of regulariser.

    Args:
        method: Its name.
        strengths: Its strengths, or none if it has none.
        labels: The label of each of its recipes.
        quantity: What its strengths are: "strength" of a penalty, "limit" of a constraint.
        code: What a person writes to get each of its recipes.
    """

    method: str
    strengths: Sequence[float]
    labels: Sequence[str]
    quantity: str
    code: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a case study beside its numbers.

    Args:
        name: Its name.
        title: One line for people.
        arms: What was compared.
        published: Label -> published accuracy on the training and on the test rows.
        highlights: Labels of the recipes that the pictures set beside the baseline.
        grid: The method whose strengths are drawn.
        command: What made it.
        source: Where the published figures are from.
        epochs: Epochs of the published training; after another number the figures are not comparable.
        points: Part ("train", "test") -> rows of (first feature, second feature, class) of the published data, if it
            has two features.
    """

    name: str
    title: str
    arms: Sequence[ArmRecord]
    published: Mapping[str, Sequence[float]]
    highlights: Sequence[str]
    grid: str
    command: str
    source: str
    epochs: int
    points: Mapping[str, Sequence[Sequence[float]]]

    def arm(self, method: str) -> ArmRecord:
        """What is known of one method."""
        return next(arm for arm in self.arms if arm.method == method)


class StudyResults(NamedTuple):
    """A case study read back.

    Args:
        record: What is known beside the numbers.
        published: Dataset over many seeds on the published data, with the dimensions recipe, seed, draw, epoch.
        fresh: Dataset over fresh draws of the data, likewise.
    """

    record: Record
    published: xr.Dataset
    fresh: xr.Dataset


def store_folder(folder: Path, kind: str, method: str) -> Path:
    """Where the store of one arm lies."""
    return folder / kind / method


def write_record(record: Record, folder: Path) -> None:
    """Write `study.json` into `folder`, whole or not at all."""
    write_whole(folder / _FILE, json.dumps(dataclasses.asdict(record), indent=1) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a text file, whole or not at all, into a folder that is made if need be."""
    if file.is_dir():
        raise ValueError(f"{file} is a folder; expected a file, or a name that is free")
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, file)


def is_study(folder: Path) -> bool:
    """Whether a folder holds a case study, finished or not."""
    return (folder / _FILE).exists()


def open_study(folder: Path) -> StudyResults:
    """Read a case study from its folder.

    Raises:
        ValueError: If the folder holds no finished case study.
    """
    try:
        fields = json.loads((folder / _FILE).read_text())
        record = Record(**fields | {"arms": [ArmRecord(*arm) for arm in fields["arms"]]})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{folder} holds no case study that can be read ({error}); run one with --out {folder}"
        ) from error
    published, fresh = (
        xr.concat(
            [_recipes(arm, _whole(store_folder(folder, kind, arm.method))) for arm in record.arms],
            "recipe",
            data_vars="all",
            join="exact",
            combine_attrs="drop_conflicts",
        )
        for kind in KINDS
    )
    return StudyResults(record, published, fresh)


def _whole(path: Path) -> xr.Dataset:
    # Each chunk is read once: a dataset that is opened lazily reads every chunk anew for every variable.
    lazy = open_store(path)
    store = open_folder(path)
    chunks = {number: found for number in range(store.manifest.chunks) if (found := store.read(number)) is not None}
    coords = store.coords()
    if coords is None or len(chunks) < store.manifest.chunks:
        return lazy.load()  # which says what is damaged
    return dataset(store.manifest, coords, chunks.__getitem__).load()


def _recipes(arm: ArmRecord, results: xr.Dataset) -> xr.Dataset:
    if not arm.strengths:
        results = results.expand_dims(strength=[np.nan])
    methods = [NONE if label == NONE else arm.method for label in arm.labels]
    strengths = [0.0 if label == NONE else s for s, label in zip(results["strength"].values, arm.labels, strict=True)]
    named = results.assign_coords(recipe=("strength", list(arm.labels)), method=("strength", methods))
    return named.swap_dims(strength="recipe").assign_coords(strength=("recipe", strengths))
