"""Layout of the results of a sweep: variables, lanes in chunks, and the manifest that a store begins with."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

FORMAT = 1


class DamagedError(ValueError):
    """A file that does not hold the bytes that were written to it."""


@dataclass(frozen=True)
class Chunks:
    """The lanes of a sweep in chunks of one width, of which the last may be shorter.

    Args:
        size: Number of lanes.
        width: Lanes per chunk.

    Example:
        >>> chunks = Chunks(size=10, width=4)
        >>> len(chunks), chunks.lanes(2)
        (3, range(8, 10))
    """

    size: int
    width: int

    def __len__(self) -> int:
        """Return the number of chunks."""
        return -(-self.size // self.width)

    def lanes(self, number: int) -> range:
        """Return the lanes of one chunk."""
        return range(number * self.width, min((number + 1) * self.width, self.size))

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the chunk that holds each lane, and the place of the lane in that chunk."""
        return np.divmod(lanes, self.width)


@dataclass(frozen=True)
class Variable:
    """One output of a lane: its inner dimensions, their sizes, its type."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes per lane."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Manifest:
    """Description of the results of a sweep: their origin and their layout.

    Args:
        identity: Name -> everything that the bits depend on (program, grid, versions, platform).
        dims: Dimensions of the grid and their sizes, slowest first.
        chunk: Lanes per chunk.
        coords: Coordinate -> the dimension it lies along; the values are in ``coords.npz``.
        outputs: Variable -> its inner layout.
        attrs: Attributes of the dataset.
    """

    identity: dict[str, str]
    dims: dict[str, int]
    chunk: int
    coords: dict[str, str]
    outputs: dict[str, Variable]
    attrs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sweep(self) -> str:
        """The hash that names this sweep."""
        text = json.dumps({"format": FORMAT, "chunk": self.chunk, **self.identity}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        return math.prod(self.dims.values())

    @property
    def chunks(self) -> Chunks:
        """The lanes in chunks."""
        return Chunks(self.lanes, self.chunk)

    def encode(self) -> bytes:
        """Return the manifest as JSON with its own checksum."""
        content = {"format": FORMAT, "sweep": self.sweep, **asdict(self)}
        checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return (json.dumps({"checksum": checksum, **content}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            DamagedError: If it is not JSON, or not as it was written.
            ValueError: If it has another format.
        """
        try:
            content = json.loads(raw)
            checksum = content.pop("checksum")
            intact = checksum == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            intact = False
        if not intact:
            raise DamagedError("is damaged")
        if content["format"] != FORMAT:
            raise ValueError(f"has format {content['format']}; this version reads {FORMAT}")
        outputs = {
            name: Variable(tuple(v["dims"]), tuple(v["shape"]), v["dtype"]) for name, v in content["outputs"].items()
        }
        return cls(content["identity"], content["dims"], content["chunk"], content["coords"], outputs, content["attrs"])
