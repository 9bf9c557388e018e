"""Losses and metrics: functions with one value per row, or with one value for all rows.

Losses return one value per row. So do metrics that are averaged over rows, such as the accuracy. Other metrics return
one value for all rows, such as the equal error rate and the root mean squared error.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Measure = Callable[[jax.Array, jax.Array], jax.Array]
"""Function of outputs and targets. It returns one value per row, or one value for all rows. Outputs have shape (rows,
outputs), and targets have shape (rows,) or (rows, outputs)."""


def binary_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the cross-entropy of each row for binary classification, in nats. This is the default loss of `Problem`.

    For more than two classes, use `categorical_cross_entropy`. For targets that are numbers, use `squared_error`. The
    loss applies the sigmoid to the outputs. In Keras, the last layer of a model usually applies the sigmoid.

    Args:
        outputs: Logit of class 1 for each row, of shape (rows, 1).
        targets: Classes 0 and 1, of shape (rows,).

    Raises:
        ValueError: If the outputs do not have shape (rows, 1), or the targets do not have shape (rows,).
    """
    return optax.sigmoid_binary_cross_entropy(_single(outputs, targets, "binary_cross_entropy"), targets)


def binary_accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return 1 for each correctly classified row, and 0 for each other row. There are two classes, 0 and 1.

    A row is classified as 1 if its logit is positive, and as 0 otherwise. The mean over all rows is the accuracy.

    Args:
        outputs: Logit of class 1 for each row, of shape (rows, 1).
        targets: Classes 0 and 1, of shape (rows,).

    Raises:
        ValueError: If the outputs do not have shape (rows, 1), or the targets do not have shape (rows,).
    """
    return ((_single(outputs, targets, "binary_accuracy") > 0) == (targets > 0.5)).astype(jnp.float32)


def categorical_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the cross-entropy of each row in nats, for one logit per class and integer classes from 0.

    The softmax of the logits gives the class probabilities. The result equals that of Keras's
    `sparse_categorical_crossentropy` with `from_logits=True`.

    Args:
        outputs: Logits, of shape (rows, classes).
        targets: Class of each row as an integer, of shape (rows,).

    Raises:
        ValueError: If there are fewer than two outputs per row, or the targets do not have shape (rows,).
        TypeError: If the targets are not integers.

    Example:
        >>> import jax.numpy as jnp
        >>> print(categorical_cross_entropy(jnp.zeros((1, 4)), jnp.array([3])))  # log 4
        [1.3862944]
    """
    _classes(outputs, targets, "categorical_cross_entropy")
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def categorical_accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return 1 for each row in which the target class has the largest logit, and 0 for each other row.

    The mean over all rows is the accuracy.

    Args:
        outputs: Logits, of shape (rows, classes).
        targets: Class of each row as an integer, of shape (rows,).

    Raises:
        ValueError: If there are fewer than two outputs per row, or the targets do not have shape (rows,).
        TypeError: If the targets are not integers.
    """
    _classes(outputs, targets, "categorical_accuracy")
    return (jnp.argmax(outputs, axis=-1) == targets).astype(jnp.float32)


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the squared error of each row, averaged over the outputs of the row.

    A `Problem` averages its loss over the rows. With this function as loss, it therefore minimises the mean squared
    error.

    Args:
        outputs: Predictions, of shape (rows, outputs).
        targets: Targets, of shape (rows, outputs), or (rows,) if there is one output.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> print(squared_error(jnp.array([[1.0], [4.0]]), jnp.array([3.0, 4.0])))
        [4. 0.]
    """
    wanted = targets[:, None] if targets.ndim == 1 else targets
    if outputs.shape != wanted.shape:  # otherwise broadcasting would compare all pairs of rows
        raise ValueError(
            f"`squared_error`: the outputs have shape {outputs.shape} and the targets have shape {targets.shape}; "
            "expected one target per output"
        )
    return jnp.mean(jnp.square(outputs - wanted), axis=-1)


def root_mean_squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the root mean squared error of all rows, in the units of the targets.

    Args:
        outputs: Predictions, of shape (rows, outputs).
        targets: Targets, of shape (rows, outputs), or (rows,) if there is one output.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> print(root_mean_squared_error(jnp.array([[1.0], [4.0]]), jnp.array([3.0, 4.0])).round(3))
        1.414
    """
    return jnp.sqrt(jnp.mean(squared_error(outputs, targets)))


def equal_error_rate(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the equal error rate: the false-positive rate at the threshold where it equals the false-negative rate.

    A row is classified as 1 if its output is above the threshold. The result is one number for all rows. It depends
    only on the ranking of the outputs, so the sigmoid of the outputs gives the same result. Between neighbouring
    thresholds, and across tied outputs, the ROC curve is interpolated linearly. The result is NaN if a class has no
    rows or an output is NaN.

    Args:
        outputs: Logits or other scores of class 1, of shape (rows, 1).
        targets: Classes 0 and 1, of shape (rows,).

    Raises:
        ValueError: If the outputs do not have shape (rows, 1), or the targets do not have shape (rows,).

    Example:
        >>> import jax.numpy as jnp
        >>> scores, classes = jnp.array([[0.1], [0.6], [0.4], [0.9]]), jnp.array([0, 0, 1, 1])
        >>> print(equal_error_rate(scores, classes))
        0.5

    Reference:
        Martin et al., The DET curve in assessment of detection task performance, 1997.
    """
    scores = _single(outputs, targets, "equal_error_rate")
    order = jnp.argsort(-scores)
    positive = (targets[order] > 0.5).astype(jnp.float32)
    # A threshold includes all rows of a tie or none of them, so each row counts at the end of its tie.
    ends = jnp.searchsorted(-scores[order], -scores[order], side="right") - 1
    accepted = jnp.cumsum(1 - positive)[ends] / jnp.sum(1 - positive)
    rejected = 1 - jnp.cumsum(positive)[ends] / jnp.sum(positive)
    excess = jnp.concatenate([-jnp.ones(1), accepted - rejected])
    rates = jnp.concatenate([jnp.zeros(1), accepted])
    after = jnp.argmax(excess >= 0)
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    rate = rates[after - 1] + share * (rates[after] - rates[after - 1])
    return jnp.where(jnp.any(jnp.isnan(scores)) | jnp.isnan(excess[-1]), jnp.nan, rate)


def _single(outputs: jax.Array, targets: jax.Array, name: str) -> jax.Array:
    if outputs.shape != (*targets.shape, 1):
        raise ValueError(
            f"`{name}`: the outputs have shape {outputs.shape} and the targets have shape {targets.shape}; expected "
            "outputs of shape (rows, 1) and targets of shape (rows,). For more than two classes, use "
            "categorical_cross_entropy and categorical_accuracy"
        )
    return outputs[:, 0]


def _classes(outputs: jax.Array, targets: jax.Array, name: str) -> None:
    if outputs.ndim != 2 or outputs.shape[1] < 2 or targets.shape != outputs.shape[:1]:
        raise ValueError(
            f"`{name}`: the outputs have shape {outputs.shape} and the targets have shape {targets.shape}; expected "
            "outputs of shape (rows, classes) with at least 2 classes, and targets of shape (rows,)"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"`{name}`: the targets have type {targets.dtype}; expected one integer class per row")
