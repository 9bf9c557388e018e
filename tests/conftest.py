"""Four host devices for the sharding laws, and property tests that draw the same examples on every run."""

import jax
from hypothesis import settings

jax.config.update("jax_num_cpu_devices", 4)  # has to come before the backend starts
settings.register_profile("jaxreg", deadline=None, derandomize=True)
settings.load_profile("jaxreg")
