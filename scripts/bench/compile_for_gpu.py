"""What XLA makes of our programs on an H200, without one: it compiles for a device that is only described.

    JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 python scripts/bench/compile_for_gpu.py [lanes [steps]]

with JAX 0.11 or newer and its extra `cuda13`. Prints, for the sweeps of `scripts/bench/run` with so many lanes in one
chunk, the seconds that they compile and the memory that they need; and for the steps of `scripts/bench/project.py` how
often each reads or writes the matrix, from which a ratio of times follows where memory is the limit. Nothing runs: no
figure here is a measured one.
"""

import math
import re
import sys
import time

import jax
import numpy as np
import optax
from jax.experimental import topologies
from project import SIZE
from trainings import kernel, problem

import jaxreg as jr
from jaxreg.lab import Recipe, fit

# NVIDIA's data sheet of the H200 SXM, and compute capability 9.0 of the CUDA programming guide.
H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 device_memory_size: 150000000000
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H200"
"""


def sweeps(device: jax.Device, lanes: int, steps: int) -> None:
    """Compile a chunk of every system's sweep."""
    print("| sweep | lanes | seconds to compile | MiB |\n|---|---|---|---|")
    for system in ("MLP", "CNN", "LSTM"):
        task = problem(system, steps)

        def run(seed, draw, system=system, task=task):
            curves = fit(task, Recipe(penalties={kernel(system): jr.L2(1e-3)}), jax.random.key(seed), draw)
            return {
                name: curves[name].values for name in ("test_loss", "test_accuracy", "train_loss", "train_accuracy")
            }

        number = jax.ShapeDtypeStruct((lanes,), np.int32, sharding=jax.sharding.SingleDeviceSharding(device))
        lowered = jax.jit(jax.vmap(run)).lower(number, number)
        start = time.perf_counter()
        compiled = lowered.compile()
        seconds, memory = time.perf_counter() - start, compiled.memory_analysis()
        needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        print(f"| {system} | {lanes} | {seconds:.1f} | {needed / 2**20:.0f} |", flush=True)


def passes(device: jax.Device) -> None:
    """Compile the steps of `project.py` and count how often the matrix is read or written."""
    rules = {"kernel": jr.MaxNorm(1.0)}
    ways = {
        "adam": (optax.adam(1e-5), optax.apply_updates),
        "adam, jr.apply_updates": (optax.adam(1e-5), lambda params, updates: jr.apply_updates(params, updates, rules)),
        "adam, jr.project": (optax.chain(optax.adam(1e-5), jr.project(rules)), optax.apply_updates),
    }
    here = jax.sharding.SingleDeviceSharding(device)
    matrix = {"kernel": jax.ShapeDtypeStruct((SIZE, SIZE), np.float32, sharding=here)}
    print("\n| step | reads | writes | ratio | MiB beside |\n|---|---|---|---|---|")
    alone = None
    for name, (tx, apply) in ways.items():

        def step(params, state, gradients, tx=tx, apply=apply):
            updates, state = tx.update(gradients, state, params)
            return apply(params, updates), state

        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), jax.eval_shape(tx.init, matrix)
        )
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(matrix, state, matrix).compile()
        reads, writes = traffic(compiled.as_text())
        alone = alone or reads + writes
        beside = compiled.memory_analysis().temp_size_in_bytes / 2**20
        print(f"| {name} | {reads:g} | {writes:g} | {(reads + writes) / alone:.2f} | {beside:.0f} |")


def traffic(text: str) -> tuple[float, float]:
    """Elements that the kernels of a compiled program read and write, in matrices."""
    sizes, reads, writes = {}, 0, 0
    for line in text[text.index("\nENTRY") :].splitlines():
        found = re.match(r"\s*(?:ROOT )?%(\S+) = (.*?) (\S+?)\((.*?)\)", line)
        if found is None:
            continue
        name, made, operation, operands = found.groups()
        shapes = re.findall(r"\w\[([\d,]*)\]", made)
        sizes[name] = [math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes]
        if operation in ("get-tuple-element", "bitcast", "tuple", "parameter"):
            continue
        writes += sum(sizes[name])
        reads += sum(sum(sizes.get(operand, [])) for operand in re.findall(r"%([\w.-]+)", operands))
    return round(reads / SIZE**2, 1), round(writes / SIZE**2, 1)


def main(lanes: int, steps: int) -> None:
    """Compile all of it."""
    device = topologies.get_topology_desc(platform="cuda", target_config=H200, topology="1x1x1").devices[0]
    gpu = jax.sharding.AbstractDevice("NVIDIA H200", None, "gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=gpu)):
        sweeps(device, lanes, steps)
        passes(device)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [10_000, 4_000][len(given) :]))
