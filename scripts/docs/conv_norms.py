"""The table of docs/recipes/lipschitz.md: operator norms of trained convolutions beside those of flattened kernels.

    pip download mtcnn==0.1.1 --no-deps
    python scripts/docs/conv_norms.py mtcnn-0.1.1-py3-none-any.whl

The layers are those of MTCNN, three networks that find faces, at the image sizes for which they were trained. The wheel
contains their weights. Each file in it is read as pickled arrays, so pass only a wheel that you trust.
"""

import io
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg as jr

# {network: input sizes of its convolutions}
SIZES = {"pnet": (12, 5, 3), "rnet": (24, 11, 4), "onet": (48, 23, 10, 4)}


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as files:
        networks = np.load(io.BytesIO(files.read("mtcnn/data/mtcnn_weights.npy")), allow_pickle=True).item()
    print("| layer | kernel | image | flattened | true norm | true / flattened | √window · flattened / true |")
    print("|---|---|---|---|---|---|---|")
    for network, sizes in SIZES.items():
        weights = networks[network]
        kernels = [w for w in weights if getattr(w, "ndim", 0) == 4][: len(sizes)]
        for number, (kernel, size) in enumerate(zip(kernels, sizes, strict=True), 1):
            print(row(f"{network.upper().replace('NET', '-Net')} {number}", jnp.asarray(kernel), size))


def row(name: str, kernel: jax.Array, size: int) -> str:
    flat = float(jnp.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2))
    true = float(jr.conv_norm(kernel, (size, size), "VALID"))
    bound = np.sqrt(kernel.shape[0] * kernel.shape[1]) * flat
    shape = ", ".join(map(str, kernel.shape))
    return (
        f"| {name} | ({shape}) | ({size}, {size}) | {flat:.2f} | {true:.2f} | {true / flat:.2f} | {bound / true:.2f} |"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
