"""Python's garbage collector is paused while modules are imported, and goes on afterwards."""

import gc
from importlib import import_module

import pytest

from jaxreg._garbage import without_garbage_collection


@pytest.fixture(params=[True, False])
def enabled(request):
    """Whether the caller has it on. It is on again after the test."""
    was = gc.isenabled()
    gc.enable() if request.param else gc.disable()
    yield request.param
    gc.enable() if was else gc.disable()


def test_it_is_off_inside_and_then_as_it_was(enabled):
    with without_garbage_collection():
        assert not gc.isenabled()
        with without_garbage_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() == enabled


def test_it_goes_on_after_errors(enabled):
    with pytest.raises(ZeroDivisionError), without_garbage_collection():
        1 / 0  # noqa: B018
    assert gc.isenabled() == enabled


def test_it_goes_on_after_an_import(enabled, monkeypatch):
    seen = []
    monkeypatch.setattr("jaxreg._lazy.import_module", lambda name: seen.append(gc.isenabled()) or import_module(name))
    monkeypatch.delattr("jaxreg.MaxNorm", raising=False)
    from jaxreg import MaxNorm

    assert MaxNorm.__name__ == "MaxNorm"
    assert set(seen) == {False}
    assert gc.isenabled() == enabled
