"""What the tests of the search share."""

import jax
import pytest


@pytest.fixture(scope="module")
def compiled_quickly():
    """Compile with few optimisations, as most programs run once, and keep nothing on disk after a module."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_compilation_cache_dir", None)
