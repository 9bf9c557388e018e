"""Eight host devices, and Keras on JAX. This folder is run on its own, by `scripts/test_peers`."""

import os

import jax

os.environ["KERAS_BACKEND"] = "jax"
jax.config.update("jax_num_cpu_devices", 8)
