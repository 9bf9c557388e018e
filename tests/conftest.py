"""Four host devices for the sharding laws, property tests that draw the same examples on every run, quick compiling.

Nearly all of the tests' time goes into compiling programs that run once. XLA without its fusion emitters compiles in
half of the time, and its code obeys the same laws; `XLA_FLAGS= scripts/test` runs them on fully optimised code. Small
programs take a fifth less of a core where XLA splits none over threads; two processes keep two cores busy anyway.
"""

import functools
import gc
import os
import signal

import jax
from hypothesis import settings
from jax._src.interpreters import mlir

FLAGS = {  # by version, as an XLA that has given a flag up would end the process
    "0.10": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
    "0.11": "--xla_backend_optimization_level=0",
    "0.12": "--xla_backend_optimization_level=0",
}
if (version := ".".join(jax.__version__.split(".")[:2])) in FLAGS:
    os.environ.setdefault("XLA_FLAGS", FLAGS[version])

os.environ.setdefault("OMP_NUM_THREADS", "1")  # scikit-learn's; the tests have a process for each core

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a script; the tests' own processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if version == "0.10":  # making a context for each program takes up to a fifth of the time of small ones
    make_context = mlir.make_ir_context
    shared = functools.cache(make_context)
    mlir.make_ir_context = lambda: make_context() if mlir.ir.Context.current else shared()  # a program inside another

jax.config.update("jax_num_cpu_devices", 4)  # has to come before the backend starts
settings.register_profile("jaxreg", deadline=None, derandomize=True)
settings.load_profile("jaxreg")

gc.set_threshold(50_000, 10, 2)  # tracing makes many small objects; compiled programs are freed by full collections


def pytest_collection_finish() -> None:
    """Let garbage collections pass over what imports made, which stays."""
    gc.freeze()
