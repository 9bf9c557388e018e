"""Rows that depend on each other, as the table tells; and columns that say which do, and when."""

import re

import numpy as np
import pytest

from jaxreg.lab.tabular import TableError, prepare
from jaxreg.lab.tabular.order import neighbours_alike


def walk(rows=200):
    """Numbers of which each is near the one before, and a target of its own."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=(rows, 3)), axis=0), rng.integers(0, 2, rows)


def test_neighbours_that_are_alike_are_found_and_others_are_not():
    rng = np.random.default_rng(1)
    x, y = walk()
    assert neighbours_alike(x, y, classes=True) < 0.3
    order = rng.permutation(len(x))
    assert neighbours_alike(x[order], y[order], classes=True) is None
    assert neighbours_alike(x[:20], y[:20], classes=True) is None
    blobs = np.repeat([0.0, 9.0], 100)  # sorted by its class, each of which lies apart from the other
    assert neighbours_alike(blobs[:, None] + rng.normal(size=(200, 2)), blobs.astype(int) // 9, classes=True) is None
    number = np.sort(rng.normal(size=400))
    assert neighbours_alike(number[:, None] + rng.normal(size=(400, 2)), number, classes=False) is None


def write(path, columns):
    names, cells = list(columns), zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in cells)]) + "\n")
    return path


def test_a_table_of_neighbours_is_pointed_at_unless_a_column_tells(tmp_path):
    x, y = walk()
    columns = {"person": [f"P{at // 10}" for at in range(200)]}
    columns["day"] = [f"{at % 28 + 1}.3.{2000 + at // 28}" for at in range(200)]
    columns |= {name: x[:, at].round(3) for at, name in enumerate("abc")} | {"y": np.array(["no", "yes"])[y]}
    file = write(tmp_path / "walk.csv", columns)

    def told(**options):
        return [note for note in prepare(file, "y", leave_out=["day"], **options).notes if "alike" in note]

    assert len(told()) == 1
    assert "name the column of persons or days with `groups` or `time`" in told()[0]
    assert told(groups="person") == []
    grouped = prepare(file, "y", groups="person", leave_out=["day"])
    assert grouped.groups is not None
    assert np.array_equal(np.unique(grouped.groups, return_counts=True)[1], [10] * 20)
    assert grouped.encoding.inputs == ["a", "b", "c"]
    timed = prepare(file, "y", time="day", leave_out=["person"])
    assert (np.diff(timed.time) > 0).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"groups": "whom"}, "`groups` names 'whom'; did you mean 'who'?"),
        ({"groups": "y"}, "`groups` names the target, 'y'"),
        ({"groups": "x"}, "`groups` names the column 'x', which has a different value in each row"),
        (
            {"time": "who"},
            "`time` names the column 'who', but row 1 of this column is 'A'; expected a number, a date or a time",
        ),
        ({"groups": "hole"}, "`groups` names the column 'hole', which is blank in row 4"),
        ({"time": "hole"}, "`time` names the column 'hole', but row 4 of this column is"),
    ],
)
def test_columns_that_tell_nothing_are_refused(options, sentence, tmp_path):
    columns = {"who": list("AABBCC"), "x": range(6), "hole": [1, 1, 2, "", 3, 3], "y": [1.5, 2.5, 3.5, 4, 5, 6]}
    file = write(tmp_path / "t.csv", columns)
    with pytest.raises(TableError, match=re.escape(sentence)):
        prepare(file, "y", **options)
