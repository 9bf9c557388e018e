"""Inputs of the estimators: dense or sparse numbers that may be missing, or a data frame with text columns."""

import dataclasses
from typing import Any, Self

import numpy as np
from scipy import sparse

from jaxreg.lab.tabular.encoding import Encoding, learn
from jaxreg.lab.tabular.frames import columns_of


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers. Missing ones get the median of their column, and an extra column marks them.

    Args:
        fill: Median of each column.
        gaps: Whether numbers were missing in each column.
    """

    fill: np.ndarray
    gaps: np.ndarray

    @classmethod
    def learn(cls, x: Any) -> Self:
        """Return the filling of an array of shape (rows, inputs), dense or sparse."""
        dense = _dense(x)
        gaps = np.isnan(dense)
        fill = [np.median(column[~gap]) if not gap.all() else 0.0 for column, gap in zip(dense.T, gaps.T, strict=True)]
        return cls(np.array(fill), gaps.any(axis=0))

    def __call__(self, x: Any) -> np.ndarray:
        """Return the inputs of shape (rows, inputs and columns with gaps)."""
        dense = _dense(x)
        gaps = np.isnan(dense)
        return np.concatenate([np.where(gaps, self.fill, dense), gaps[:, self.gaps]], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """Columns of a data frame, encoded as those of a file are.

    Args:
        encoding: The encoding.
    """

    encoding: Encoding

    @classmethod
    def learn(cls, frame: Any) -> Self:
        """Return the encoding of a data frame."""
        return cls(learn(columns_of(frame), ""))

    def __call__(self, frame: Any) -> np.ndarray:
        """Return the inputs of shape (rows, inputs)."""
        return self.encoding(columns_of(frame))[0]


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if sparse.issparse(x) else x, np.float64)
