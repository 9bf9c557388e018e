"""Tables and models that tests of the readers and of the search share."""

import tempfile
from pathlib import Path

import numpy as np

from jaxreg.lab.search.fitted_model import FittedModel, Net
from jaxreg.lab.tabular import encoding
from jaxreg.lab.tabular.files import parsed
from jaxreg.lab.tabular.prepared import TableError, prepare

GOOD = "age,city,weight,y\n31,Ulm,70.5,1\n?,Bonn,61,0\n45,,80.25,1\n28,Ulm,NA,0\n52,Bonn,75,1\n39,Ulm,66,0\n"


def checked(raw, name, target="y"):
    columns = parsed(raw, name)
    found = encoding.target(columns, target)
    return encoding.learn(columns, target)(columns)[0], found


def a_model():
    columns = parsed(GOOD.encode(), "good.csv")
    rng = np.random.default_rng(0)
    arrays = {"mean": np.zeros(7), "scale": np.ones(7), "target": np.array([0.0, 1.0])}
    # Column by column in memory, as what is transposed may be.
    arrays |= {"hidden/kernel": np.asfortranarray(rng.normal(size=(7, 3))), "hidden/bias": np.zeros(3)}
    arrays |= {"output/kernel": rng.normal(size=(3, 1)), "output/bias": np.zeros(1)}
    return FittedModel(Net(arrays), encoding.learn(columns, "y"), "y", "classification", (0.0, 1.0), {"a": "b"})


def mutated(raw, rng):
    """`raw` with some of its bytes changed, cut off, doubled, moved or put in anew."""
    raw = bytearray(raw)
    for _ in range(rng.integers(1, 4)):
        a, b = sorted(rng.integers(0, len(raw) + 1, 2))
        kind = rng.integers(6)
        if kind == 0 and len(raw):
            raw[rng.integers(len(raw))] = rng.integers(256)
        elif kind == 1:
            del raw[a : min(b, a + 20)]
        elif kind == 2:
            raw[b:b] = raw[a : min(b, a + 40)]
        elif kind == 3:
            raw[a:a] = TOKENS[rng.integers(len(TOKENS))]
        elif kind == 4:
            raw = raw[: max(1, b)]
        elif len(raw):
            raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
    return bytes(raw)


TOKENS = [
    b",",
    b"\n",
    b'"',
    b"inf",
    b"nan",
    b"1e999",
    b"-",
    b"\0",
    b"\xff\xfe",
    b"\x80",
    b"PAR1",
    b"\r",
    b";",
    b"9" * 400,
]


def outcome(function, *arguments):
    """What `function` gives, or the one sentence in which it refuses; any other error is a failure."""
    try:
        return function(*arguments), None
    except ValueError as error:
        if type(error) not in (ValueError, TableError) or "\n" in str(error):
            raise AssertionError(repr(error)) from error
        return None, str(error)


def prepared(text, target="y", name="t.csv", **options):
    """What `prepare` makes of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return prepare(file, target, **options)
