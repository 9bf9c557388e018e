"""A case study on disk: a store for each arm and kind of data, and `study.json`, which says what they are."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab.results import open_store

PUBLISHED = "published"
FRESH = "fresh"
KINDS = (PUBLISHED, FRESH)
NONE = "none"
"""The label of the baseline: no penalty and no constraint."""

_FILE = "study.json"


class ArmRecord(NamedTuple):
    """One kind of regulariser: its name, its strengths (none, if it has none) and the label of each of its recipes."""

    method: str
    strengths: Sequence[float]
    labels: Sequence[str]


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
    """

    name: str
    title: str
    arms: Sequence[ArmRecord]
    published: Mapping[str, Sequence[float]]
    highlights: Sequence[str]
    grid: str
    command: str


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
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{_FILE}.{os.getpid()}"
    temporary.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")
    os.replace(temporary, folder / _FILE)


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
            [_recipes(arm, open_store(store_folder(folder, kind, arm.method))) for arm in record.arms],
            "recipe",
            data_vars="all",
            join="exact",
            combine_attrs="drop_conflicts",
        )
        for kind in KINDS
    )
    return StudyResults(record, published, fresh)


def _recipes(arm: ArmRecord, dataset: xr.Dataset) -> xr.Dataset:
    if not arm.strengths:
        dataset = dataset.expand_dims(strength=[np.nan])
    methods = [NONE if label == NONE else arm.method for label in arm.labels]
    named = dataset.assign_coords(recipe=("strength", list(arm.labels)), method=("strength", methods))
    return named.swap_dims(strength="recipe")
