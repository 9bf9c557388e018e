"""The examples in the docstrings of the laboratory run, and print what they say they print."""

import doctest
import importlib
import pkgutil

import pytest

from jaxreg import lab


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(lab.__path__, "jaxreg.lab.")])
def test_docstrings_print_what_they_say(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
