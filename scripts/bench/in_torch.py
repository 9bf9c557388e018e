"""The trainings of the benchmark in PyTorch, timed: a plain loop, or `torch.func` over a population of models.

    python scripts/bench/in_torch.py DATA SYSTEM LANES STEPS POPULATION

DATA is an .npz file with the arrays x and y. A population of 1 is the plain loop: a module, `torch.optim.Adam`, one
model after the other. Larger ones are trained together: `vmap` of `grad` over stacked parameters, with Adam written out
on them, its epsilon before the correction of the bias. The weights are PyTorch's own. Prints one line of JSON. Needs
nothing but PyTorch and NumPy.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

STRENGTH, RATE, B1, B2, EPSILON = 1e-3, 1e-3, 0.9, 0.999, 1e-7


class Rows(nn.Module):
    """An LSTM or GRU of 32 units over the rows of a digit."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        """Make the layers."""
        super().__init__()
        self.layer, self.output = layer(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.output(self.layer(x)[0][:, -1])


class WrittenLSTM(nn.Module):
    """The same written out, as `vmap` has no rule for `nn.LSTM`."""

    def __init__(self) -> None:
        """Make the weights of the four gates and of the output."""
        super().__init__()
        self.kernel, self.state, self.output = nn.Linear(8, 128), nn.Linear(32, 128, bias=False), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        h = c = x.new_zeros(x.shape[0], 32)
        for step in range(x.shape[1]):
            i, f, g, o = (self.kernel(x[:, step]) + self.state(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.output(h)


class WrittenGRU(nn.Module):
    """The same written out, as `vmap` has no rule for `nn.GRU`."""

    def __init__(self) -> None:
        """Make the weights of the two gates, of the candidate and of the output."""
        super().__init__()
        self.kernel, self.state, self.output = nn.Linear(8, 96), nn.Linear(32, 96), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        h = x.new_zeros(x.shape[0], 32)
        for step in range(x.shape[1]):
            (r, z, n), (r_back, z_back, n_back) = self.kernel(x[:, step]).chunk(3, -1), self.state(h).chunk(3, -1)
            z = torch.sigmoid(z + z_back)
            h = (1 - z) * torch.tanh(n + torch.sigmoid(r + r_back) * n_back) + z * h
        return self.output(h)


def network(system: str, together: bool) -> tuple[nn.Module, str]:
    """Return a network and the name of its weight under L2."""
    if system == "MLP":
        return nn.Sequential(nn.Linear(2, 500), nn.ReLU(), nn.Linear(500, 1)), "0.weight"
    if system == "CNN":
        return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)), "0.weight"
    if together:
        return {"LSTM": WrittenLSTM, "GRU": WrittenGRU}[system](), "kernel.weight"
    return Rows({"LSTM": nn.LSTM, "GRU": nn.GRU}[system]), "layer.weight_ih_l0"


def error(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy."""
    if outputs.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], y.to(outputs.dtype))
    return functional.cross_entropy(outputs, y)


def alone(system: str, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    """Train one model."""
    net, penalised = network(system, together=False)
    weight = dict(net.named_parameters())[penalised]
    adam = torch.optim.Adam(net.parameters(), RATE, (B1, B2), EPSILON)
    for _ in range(steps):
        adam.zero_grad()
        (error(net(x), y) + STRENGTH * weight.square().sum()).backward()
        adam.step()


def together(system: str, x: torch.Tensor, y: torch.Tensor, steps: int, population: int) -> None:
    """Train a population at once."""
    nets = [network(system, together=True)[0] for _ in range(population)]
    base, penalised = network(system, together=True)
    stacked, buffers = stack_module_state(nets)
    params = {name: value.detach() for name, value in stacked.items()}

    def loss(one: dict, own: dict) -> torch.Tensor:
        return error(functional_call(base, (one, own), (x,)), y) + STRENGTH * one[penalised].square().sum()

    slope = vmap(grad(loss))
    means, squares = ({name: torch.zeros_like(value) for name, value in params.items()} for _ in range(2))
    for step in range(1, steps + 1):
        rate = RATE * (1 - B2**step) ** 0.5 / (1 - B1**step)
        for name, g in slope(params, buffers).items():
            means[name].lerp_(g, 1 - B1)
            squares[name].lerp_(g.square(), 1 - B2)
            params[name].sub_(rate * means[name] / (squares[name].sqrt() + EPSILON))


def main(file: str, system: str, lanes: int, steps: int, population: int) -> None:
    """Train and print the seconds."""
    with np.load(file) as data:
        x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    if system == "CNN":
        x = x.permute(0, 3, 1, 2).contiguous()
    y = y.long() if system != "MLP" else y

    def train(steps: int) -> None:
        if population == 1:
            alone(system, x, y, steps)
        else:
            together(system, x, y, steps, population)

    train(20)
    start = time.perf_counter()
    for _ in range(lanes // population):
        train(steps)
    print(json.dumps({"seconds": time.perf_counter() - start, "compile": 0.0, "chunk": population, "losses": []}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
