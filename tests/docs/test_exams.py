"""The page on exams counts the tests in tests/peers: one per case of another library, without those not in scope."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITES = sorted((ROOT / "tests" / "peers").glob("test_*.py"))


def suite(file):
    """(name, tests, tests that are expected to fail, {case not in scope: reason}), without importing any library."""
    tree = ast.parse(file.read_text("utf-8"))
    facts = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("SUITE", "NOT_IN_SCOPE")
    }
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    marks = {test.name: " ".join(map(ast.unparse, test.decorator_list)) for test in tests}
    assert len(marks) == len(tests), f"{file.name}: two tests have one name"
    assert not any("skip" in text for text in marks.values()), f"{file.name}: a test that is skipped holds nothing"
    failed = [name for name, text in marks.items() if "xfail" in text]
    return facts["SUITE"], sorted(marks), failed, facts["NOT_IN_SCOPE"]


def counts():
    rows = [
        (name, len(tests) + len(out), len(tests) - len(failed), len(out), len(failed))
        for name, tests, failed, out in map(suite, SUITES)
    ]
    return [*rows, ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))]


def scope():
    rows = []
    for name, _, _, out in map(suite, SUITES):
        for reason in dict.fromkeys(out.values()):
            cases = ", ".join(f"`{case.removeprefix('test_')}`" for case in out if out[case] == reason)
            rows.append((name, cases, reason))
    return rows


@pytest.mark.parametrize("rows", [counts, scope])
def test_the_page_has_a_table_of_all_suites(rows):
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows()]
    page = (ROOT / "docs" / "exams.md").read_text("utf-8")
    assert "\n".join(lines) in page, "expected these lines in docs/exams.md:\n" + "\n".join(lines)


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_no_case_is_both_held_and_not_in_scope(file):
    _, tests, _, out = suite(file)
    assert not set(tests) & set(out)


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_a_suite_names_the_version_that_is_installed(file):
    script, lock = (ROOT / name for name in ("scripts/test_peers", "requirements.lock"))
    pins = dict(re.findall(r"([a-z]+)==([0-9.]+)", script.read_text("utf-8")))
    pins |= dict(re.findall(r"^(optax)==([0-9.]+)", lock.read_text("utf-8"), re.MULTILINE))
    library = suite(file)[0].split(":")[0].lower().replace("pytorch", "torch")
    assert f"({pins[library]})" in (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "")
