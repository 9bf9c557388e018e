"""Conversion of the inputs of the estimators: numeric arrays with missing values, or data frames with text."""

import dataclasses
import warnings
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse

from jaxreg.lab.tabular.encoding import Encoding, examine
from jaxreg.lab.tabular.frames import columns_of


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """Encoding of numeric inputs. A missing number becomes the median of its column, and an extra column marks it.

    Args:
        fill: Median of each column.
        gaps: Whether each column had missing numbers when the encoding was learnt.
    """

    fill: np.ndarray
    gaps: np.ndarray
    notes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def learn(cls, x: Any) -> Self:
        """Learn the encoding of a dense or sparse array of shape (rows, inputs)."""
        dense = _dense(x)
        gaps = np.isnan(dense)
        fill = [np.median(column[~gap]) if not gap.all() else 0.0 for column, gap in zip(dense.T, gaps.T, strict=True)]
        return cls(np.array(fill), gaps.any(axis=0))

    def __call__(self, x: Any) -> np.ndarray:
        """Encode an array: return its columns with missing numbers replaced, followed by columns that mark them.

        A column with missing numbers when the encoding was learnt has a column of 0 and 1 that marks missing numbers.
        Missing numbers in any other column cause one warning.
        """
        dense = _dense(x)
        gaps = np.isnan(dense)
        counts = gaps.sum(axis=0)
        if (new := np.flatnonzero((counts > 0) & ~self.gaps)).size:
            cells = [f"{counts[at]} missing cell{'s are' if counts[at] > 1 else ' is'}" for at in new]
            notes = [f"input {at}: {cell} replaced by {self.fill[at]:g}" for at, cell in zip(new, cells, strict=True)]
            warnings.warn("; ".join(notes), stacklevel=4)
        return np.concatenate([np.where(gaps, self.fill, dense), gaps[:, self.gaps]], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """Encoding of the columns of a data frame as inputs of a network.

    Args:
        encoding: Encoding of all columns.
        notes: Notes on how each column was read.
    """

    encoding: Encoding
    notes: tuple[str, ...] = ()

    @classmethod
    def learn(cls, frame: Any) -> Self:
        """Learn the encoding of a data frame.

        Raises:
            ValueError: If a column cannot be read, or no column can be an input.
        """
        found = examine(columns_of(frame), "")
        found.check()
        return cls(found.encoding, tuple(found.notes))

    def __call__(self, frame: Any) -> np.ndarray:
        """Encode a data frame: return inputs of shape (rows, inputs)."""
        return inputs_of(frame, self.encoding)


def inputs_of(frame: Any, encoding: Encoding) -> np.ndarray:
    """Encode a data frame as inputs of shape (rows, inputs).

    One warning names words that did not occur in training, and missing cells that are filled in. Its sentences are
    those of the command `jaxreg predict`.

    Args:
        frame: Pandas data frame.
        encoding: Encoding of its columns.
    """
    inputs, notes = encoding(columns_of(frame))
    if notes:
        warnings.warn("; ".join(notes), stacklevel=3)
    return inputs


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if sparse.issparse(x) else x, np.float64)
