"""Baseline that ignores the inputs: it always predicts the shares of the classes, or the mean of the target."""

from collections.abc import Sequence

import numpy as np

from jaxreg.lab.search.fitted_model import LEAST
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, trained_on
from jaxreg.lab.search.nested import outer_splits
from jaxreg.lab.search.rivals import Rivals


def constants(setting: Setting, table: PaddedRows, parts: Sequence[Split]) -> Rivals:
    """Return the score and the loss of a constant prediction on each outer fold, as arrays of shape (folds,).

    The constant of a fold is computed from its training rows: the shares of the classes, or the mean of the target.

    Args:
        setting: Static settings of the training runs.
        table: Rows of the table.
        parts: All splits of the cross-validation.
    """
    found, y = [], table.y
    for at in outer_splits(parts):
        dealt = table.folds[parts[at].repeat]
        train = trained_on(dealt, table.w.astype(np.float64), parts[at], forward=setting.forward)
        test = table.w.astype(np.float64) * (dealt == parts[at].test)
        train, test = train / train.sum(), test / test.sum()
        if setting.task.classes:
            shares = np.bincount(y.astype(int), weights=train, minlength=int(y.max()) + 1)
            loss = test @ -np.log(np.maximum(shares, LEAST))[y.astype(int)]
            found.append((test @ (y == shares.argmax()), loss))
        else:
            loss, spread = (test @ np.square(y - rows @ y) for rows in (train, test))
            found.append((1 - loss / spread if spread > 0 else np.nan, loss))
    return Rivals(*np.array(found, np.float64).T)
