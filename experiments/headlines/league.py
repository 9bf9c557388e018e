"""A league of norm control: twelve methods, twelve rates, three widths, on a small transformer that reads Shakespeare.

Claims, stated before the run: (1) Adam with a fixed norm of each matrix (AdamH) needs 4,875 steps where AdamW needs
5,625, 13 % fewer (modded-nanogpt, pull request 272, 2026). (2) With Muon, a fixed norm saves 20 to 30 % of the tokens
against weight decay, and the best rate moves less with the width (Wen and others, Fantastic pretraining optimizers and
where to find them II: hyperball optimization, 2026). (3) Once tuned, forms of norm control differ by 1 to 3 millinats.
Here: one block with causal attention predicts the next of 27 characters of Coriolanus. Every method has the six
matrices of the block; Adam has the embeddings and the last layer, with the same rate. The rate warms up and falls to 0
on a line. Rates are in the unit of Adam: steps of Muon have a root mean square of 0.2 as Adam's do, and Hyperball and
Scion turn by the rate, in radians. All methods share the first weights and the batches of a seed. A pilot with other
seeds, at the middle width, chooses one of five strengths of each method. One run chooses the rate, and the other, from
other seeds, says what the choice is worth. AdamW has other lengths too: what a loss is worth in steps of AdamW.
Command: python experiments/headlines/league.py (--seeds, --steps, --out change its size and place).
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import RESAMPLES, detectable, headline, least, widened_interval
from matplotlib.figure import Figure
from scipy.stats import spearmanr, t, ttest_1samp

import jaxreg as jr
from jaxreg.lab import sweep
from jaxreg.lab.plots import COLOURS
from jaxreg.lab.plots.theme import BLUE, GREY, ORANGE, legend
from jaxreg.lab.stats import holm
from jaxreg.lab.stats.intervals import mean_interval

TEXT = Path(__file__).with_name("coriolanus.txt")
LETTERS, HELD_OUT = 27, 10_000
PLACES, BATCH, HEADS = 32, 4, 2
MATRICES = ("query", "key", "value", "attention", "hidden", "output")
WIDTHS, MIDDLE = (8, 16, 32), 16
RATES = 10 ** np.arange(-2.75, 0.1, 0.25)
PILOT_SEEDS, PILOT_RATES = 4, slice(None, None, 2)
LENGTHS = (0.7, 1.0, 1.5)
"""Lengths of AdamW's other trainings, in units of the length of all others."""
WORST = 4.0
"""Loss that replaces larger ones and those of diverged trainings; saying nothing has 3.3."""


def characters() -> np.ndarray:
    """The text in small letters, as numbers: 0 for a space, 1 to 26 for letters."""
    codes = np.frombuffer(" ".join(TEXT.read_text("utf-8").split()).encode(), np.uint8).astype(np.int32)
    return np.where(codes == ord(" "), 0, codes - ord("a") + 1)


def windows() -> tuple[np.ndarray, np.ndarray]:
    """The characters to train on, and 128 windows of the held-out end of the text."""
    text = characters()
    held_out = text[-HELD_OUT:]
    starts = np.linspace(0, HELD_OUT - PLACES - 1, 128).astype(int)
    return text[:-HELD_OUT], held_out[starts[:, None] + np.arange(PLACES + 1)]


def initial(key: jax.Array, width: int) -> dict[str, jax.Array]:
    """Normal initial weights, with a standard deviation of one over the root of the inputs."""
    shapes = {
        "embedding": (LETTERS, width),
        "places": (PLACES, width),
        **dict.fromkeys(MATRICES[:4], (width, width)),
        "hidden": (width, 4 * width),
        "output": (4 * width, width),
        "unembedding": (width, LETTERS),
    }
    keys = jax.random.split(key, len(shapes))
    scales = {"embedding": 1.0, "places": 1.0}
    return {
        name: jax.random.normal(each, shape) * scales.get(name, shape[0] ** -0.5)
        for each, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def normed(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6)


def logits(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Map characters of shape (rows, places) to logits of the next ones, of shape (rows, places, letters)."""

    def heads(a: jax.Array) -> jax.Array:
        return a.reshape(*a.shape[:2], HEADS, -1)

    stream = jax.nn.one_hot(x, LETTERS) @ w["embedding"] + w["places"]
    inside = normed(stream)
    query, key, value = (heads(inside @ w[name]) for name in ("query", "key", "value"))
    scores = jnp.einsum("bihd,bjhd->bhij", query, key) / query.shape[-1] ** 0.5
    shares = jax.nn.softmax(jnp.where(jnp.tri(PLACES, dtype=bool), scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum("bhij,bjhd->bihd", shares, value).reshape(stream.shape)
    stream = stream + mixed @ w["attention"]
    stream = stream + jax.nn.relu(normed(stream) @ w["hidden"]) @ w["output"]
    return normed(stream) @ w["unembedding"]


def loss(w: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Mean cross-entropy in nats per character of rows with one character more than places."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(w, rows[:, :-1]), rows[:, 1:]))


def adam(schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(b2=0.98), optax.scale_by_learning_rate(schedule))


Made = Callable[[Any, optax.Schedule, Any, Any], optax.GradientTransformation]
"""An optimiser from the first matrices, the schedule, its peak and the strength."""


def _decayed(make: Callable[[Any, optax.Schedule, Any], optax.GradientTransformation]) -> Made:
    def made(start: Any, schedule: optax.Schedule, peak: Any, strength: Any) -> optax.GradientTransformation:
        decay = make({".*": jr.L2(strength / 2)}, schedule, peak)
        return optax.chain(optax.scale_by_adam(b2=0.98), decay, optax.scale_by_learning_rate(schedule))

    return made


def _projected(rules: Callable[[Any], dict[str, Any]]) -> Made:
    return lambda start, schedule, peak, strength: optax.chain(adam(schedule), jr.project(rules(strength)))


def _bounded(start: Any, schedule: optax.Schedule, peak: Any, strength: Any) -> optax.GradientTransformation:
    return optax.chain(adam(schedule), jr.bounded({".*": jr.L2(1.0)}, jr.InitialBound(strength)))


def _hyperball(start: Any, schedule: optax.Schedule, peak: Any, strength: Any) -> optax.GradientTransformation:
    spheres = jr.initial_spheres(_leaves(start), ".*", share=strength)
    return optax.chain(optax.scale_by_adam(b2=0.98), jr.hyperball(spheres, schedule))


def _muon(start: Any, schedule: optax.Schedule, peak: Any, strength: Any) -> optax.GradientTransformation:
    balls = {name: jr.SpectralNorm(0.2 * max(w.shape) ** 0.5, fast=True) for name, w in _leaves(start).items()}
    return optax.chain(
        optax.trace(0.95, nesterov=True),
        jr.steepest(balls),
        jr.decay({".*": jr.L2(strength / 2)}),
        optax.scale_by_learning_rate(schedule),
    )


def _scion(start: Any, schedule: optax.Schedule, peak: Any, strength: Any) -> optax.GradientTransformation:
    balls = {
        name: jr.SpectralNorm(strength * (w.shape[1] / w.shape[0]) ** 0.5, fast=True)
        for name, w in _leaves(start).items()
    }
    return optax.chain(
        optax.ema(0.9, debias=False),
        jr.conditional_gradient(balls),
        optax.scale_by_learning_rate(schedule),
    )


def _leaves(start: Any) -> dict[str, jax.Array]:
    return {name: start[name] for name in MATRICES}


NONE, BASE = "none", "AdamW"
DECAYS = (0.1, 0.3, 1.0, 3.0, 10.0)
LIMITS = (0.125, 0.25, 0.5, 1.0, 2.0)
METHODS: dict[str, tuple[Made, tuple[float, ...]]] = {
    NONE: (lambda start, schedule, peak, strength: adam(schedule), (0.0,)),
    BASE: (_decayed(lambda rules, schedule, peak: jr.decay(rules)), DECAYS),
    "cautious decay": (_decayed(lambda rules, schedule, peak: jr.cautious_decay(rules)), DECAYS),
    "corrected decay": (_decayed(jr.corrected_decay), DECAYS),
    "independent decay": (
        _decayed(lambda rules, schedule, peak: jr.independent_decay(rules, peak)),
        (0.006, 0.02, 0.06, 0.2, 0.6),
    ),
    "max-norm": (_projected(lambda s: {".*": jr.MaxNorm(s, axis=0)}), LIMITS),
    "unit norm": (_projected(lambda s: {".*": jr.MinMaxNorm(s, s, axis=0)}), LIMITS),
    "CPR": (_bounded, LIMITS),
    "Hyperball": (_hyperball, LIMITS),
    "spectral caps": (_projected(lambda s: {".*": jr.SpectralNorm(s, fast=True)}), (0.25, 0.5, 1.0, 2.0, 4.0)),
    "Muon with decay": (_muon, (0.03, 0.1, 0.3, 1.0, 3.0)),
    "Scion": (_scion, (0.5, 1.0, 2.0, 4.0, 8.0)),
}


def optimiser(
    method: str, start: dict[str, jax.Array], steps: int, rate: Any, strength: Any
) -> optax.GradientTransformation:
    """The method for the matrices of the block, and Adam for all other weights, with one schedule."""
    warm = steps // 10
    up, down = optax.linear_schedule(0.0, rate, warm), optax.linear_schedule(rate, 0.0, steps - warm)
    schedule = optax.join_schedules([up, down], [warm])
    parts = {"matrix": METHODS[method][0](start, schedule, rate, strength), "other": adam(schedule)}
    return optax.partition(parts, {name: "matrix" if name in MATRICES else "other" for name in start})


def lane(method: str, width: int, steps: int, strength: Any, rate: Any, seed: Any) -> dict[str, Any]:
    """Loss on held-out text at the end of one training."""
    text, held_out = windows()
    start_key, batches_key = jax.random.split(jax.random.key(seed))
    start = initial(start_key, width)
    tx = optimiser(method, start, steps, rate, strength)
    places = jax.random.randint(batches_key, (steps, BATCH), 0, len(text) - PLACES)
    rows = jnp.asarray(text)

    def step(state: Any, at: jax.Array) -> Any:
        w, memory = state
        batch = rows[at[:, None] + jnp.arange(PLACES + 1)]
        updates, memory = tx.update(jax.grad(loss)(w, batch), memory, w)
        return (optax.apply_updates(w, updates), memory), None

    (w, _), _ = jax.lax.scan(step, (start, tx.init(start)), places)
    return {"loss": loss(w, jnp.asarray(held_out))}


def losses(run: Callable[..., dict[str, Any]], over: dict[str, Any], store: Path) -> xr.DataArray:
    """Losses as plain numbers, `WORST` where a training has diverged."""
    found = sweep(run, over, store)["loss"].load().transpose(*over)
    return found.copy(data=np.minimum(np.nan_to_num(found.values.astype(float), nan=WORST, posinf=WORST), WORST))


def piloted(asked: argparse.Namespace) -> xr.DataArray:
    """Losses of all strengths at the middle width, by method, level, rate and seed."""
    seeds, found = 1000 + np.arange(min(PILOT_SEEDS, asked.seeds)), []
    for method, (_, strengths) in METHODS.items():
        if len(strengths) == 1:
            continue
        over = {"strength": np.array(strengths, np.float32), "rate": RATES[PILOT_RATES], "seed": seeds}
        store = asked.out / f"pilot_{method.replace(' ', '_')}"
        each = losses(partial(lane, method, MIDDLE, asked.steps), over, store)
        levels = each.assign_coords(strength=np.arange(len(strengths))).rename(
            strength="level", rate="pilot_rate", seed="pilot_seed"
        )
        found.append(levels)
    tuned = [method for method in METHODS if len(METHODS[method][1]) > 1]
    every = xr.concat(found, xr.DataArray(tuned, dims="rule", name="rule"), combine_attrs="drop")
    return every.reindex(rule=list(METHODS))


def strength_of(method: str, pilot: xr.DataArray) -> float:
    """The strength with the least mean loss at its best rate in the pilot."""
    strengths = METHODS[method][1]
    best = pilot.sel(rule=method).mean("pilot_seed").min("pilot_rate")
    return strengths[int(best.argmin("level"))] if len(strengths) > 1 else strengths[0]


def trained(asked: argparse.Namespace) -> xr.Dataset:
    pilot = piloted(asked)
    strengths = {method: strength_of(method, pilot) for method in METHODS}
    runs, longer = [], []
    lengths = [round(share * asked.steps) for share in LENGTHS]
    for run in range(2):
        seeds = run * asked.seeds + np.arange(asked.seeds)

        def trainings(method: str, width: int, steps: int, run: int = run, seeds: np.ndarray = seeds) -> xr.DataArray:
            over = {"strength": np.array([strengths[method]], np.float32), "rate": RATES, "seed": seeds}
            store = asked.out / f"{run}_{method.replace(' ', '_')}_{width}_{steps}"
            found = losses(partial(lane, method, width, steps), over, store).isel(strength=0, drop=True)
            return found.assign_coords(seed=np.arange(asked.seeds))

        each = [[trainings(method, width, asked.steps) for width in WIDTHS] for method in METHODS]
        runs.append(xr.concat([xr.concat(row, "width") for row in each], "rule"))
        longer.append(xr.concat([trainings(BASE, MIDDLE, length) for length in lengths], "length"))
    found = xr.Dataset({"loss": xr.concat(runs, "run"), "length_loss": xr.concat(longer, "run"), "pilot_loss": pilot})
    for name in found:
        found[name].encoding = {"dtype": "int16", "scale_factor": 1 / 8000, "_FillValue": -(2**15)}
    return found.assign_coords(rule=list(METHODS), width=list(WIDTHS), length=lengths, run=[0, 1]).assign_attrs(
        steps=asked.steps
    )


RUNS = ("First run", "Rerun from other seeds")
CLOSE = 0.01
"""A rate is as good as the best one if its loss is at most this share larger."""
ADAMS = tuple(method for method in METHODS if method not in (NONE, "Muon with decay", "Scion"))
MILLI = 1000


def judged(found: xr.Dataset, name: str, run: int) -> np.ndarray:
    """Losses of one run at the rates that the other run chose, without the axis of the rates."""
    each = found[name].transpose("run", ..., "rate", "seed").values
    best = each[1 - run].mean(-1).argmin(-1)
    kept: np.ndarray = np.take_along_axis(each[run], best[..., None, None], -2)[..., 0, :]
    return kept


def weights(seeds: int) -> np.ndarray:
    """How often each seed is in each resample, as a share; the first resample is the data."""
    picks = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    return (np.concatenate([np.arange(seeds)[None], picks])[..., None] == np.arange(seeds)).mean(1)


def breadth(curves: np.ndarray) -> np.ndarray:
    """Decades of rates at which curves over `RATES`, straight between the points, are within a share of their least."""
    logs = np.log10(RATES)
    fine = np.linspace(logs[0], logs[-1], 100 * (len(logs) - 1) + 1)
    between = curves @ np.stack([np.interp(fine, logs, row) for row in np.eye(len(logs))])
    good = between <= (1 + CLOSE) * between.min(-1, keepdims=True)
    share: np.ndarray = good.mean(-1) * (logs[-1] - logs[0])
    return share


def saved(own: np.ndarray, base: np.ndarray, lengths: np.ndarray, steps: float) -> np.ndarray:
    """Share of the steps that a method saves, from its loss and those of AdamW at some lengths, by interpolation.

    Args:
        own: Losses of shape (resamples,).
        base: Losses of AdamW of shape (resamples, lengths).
        lengths: Numbers of steps.
        steps: Number of steps of the method.
    """
    falling = np.minimum.accumulate(base, axis=1)[:, ::-1]
    logs = np.log(lengths)[::-1]
    needed = np.array([np.interp(value, row, logs) for value, row in zip(own, falling, strict=True)])
    found: np.ndarray = 1 - steps / np.exp(needed)
    return found


class Standings(NamedTuple):
    """What one run says of all methods. The first resample is the data; the others are a bootstrap over seeds.

    Args:
        methods: Names of the methods.
        losses: Losses at the chosen rates, of shape (methods, widths, seeds).
        moves: Decades by which the best rate moves from the smallest to the largest width, (resamples, methods).
        breadths: Decades of rates within 1 % of the best, mean of the widths, of the same shape.
        savings: Share of the steps saved against AdamW at the middle width, of the same shape.
        edges: Number of chosen rates that are an end of the grid.
    """

    methods: list[str]
    losses: np.ndarray
    moves: np.ndarray
    breadths: np.ndarray
    savings: np.ndarray
    edges: int

    @property
    def seeds(self) -> int:
        return self.losses.shape[-1]

    def against(self, method: str, base: str = BASE) -> np.ndarray:
        """Change of the loss of each seed against another method, mean of the widths, in millinats."""
        means = self.losses.mean(1)
        found: np.ndarray = MILLI * (means[self.methods.index(method)] - means[self.methods.index(base)])
        return found

    def said(self, values: np.ndarray, digits: int = 2, sign: str = "+") -> str:
        ends = widened_interval(values[1:], self.seeds)
        mean, low, high = (f"{np.round(value, digits) + 0.0:{sign}.{digits}f}" for value in (values[0], *ends))
        return f"{mean} [{low}, {high}]"

    def beyond_chance(self) -> dict[str, int]:
        """-1 for methods whose loss is lower than AdamW's beyond chance, 1 if higher, else 0 (t-test, Holm)."""
        others = [method for method in self.methods if method != BASE]
        changes = np.stack([self.against(method) for method in others])
        sure = holm(xr.DataArray(ttest_1samp(changes, 0, axis=1).pvalue, dims="rule")).values < 0.05
        signs = np.where(sure, np.sign(changes.mean(1)), 0).astype(int)
        return dict(zip(others, signs.tolist(), strict=True))


def standings(found: xr.Dataset, run: int) -> Standings:
    losses = judged(found, "loss", run)
    shares = weights(losses.shape[-1])
    each = found["loss"].sel(run=run).transpose("rule", "width", "rate", "seed").values
    curves = np.einsum("bs,mwrs->bmwr", shares, each)
    logs = np.log10(RATES)
    moves = least(curves[:, :, -1], logs) - least(curves[:, :, 0], logs)
    base = np.einsum("bs,ls->bl", shares, judged(found, "length_loss", run))
    own = np.einsum("bs,ms->bm", shares, losses[:, WIDTHS.index(MIDDLE)])
    steps = float(found.attrs["steps"])
    savings = [saved(column, base, found["length"].values, steps) for column in own.T]
    places = found["loss"].sel(run=1 - run).mean("seed").transpose("rule", "width", "rate").values.argmin(-1)
    edges = int(np.isin(places, [0, len(logs) - 1]).sum())
    breadths = np.stack([breadth(curves[:, place]).mean(-1) for place in range(curves.shape[1])], 1)
    return Standings(found["rule"].values.tolist(), losses, moves, breadths, np.stack(savings, 1), edges)


def trivial() -> tuple[float, float]:
    """Loss on the held-out windows from the frequencies of letters, and from those of pairs of letters."""
    text, held_out = windows()
    pairs = np.ones((LETTERS, LETTERS))
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    single = pairs.sum(0) / pairs.sum()
    before, after = held_out[:, :-1], held_out[:, 1:]
    given = pairs / pairs.sum(1, keepdims=True)
    return float(-np.log(single[after]).mean()), float(-np.log(given[before, after]).mean())


def tell(found: xr.Dataset) -> Figure:
    single, pairs = trivial()
    longer = found["length_loss"].sel(length=found["length"] != found.attrs["steps"])  # those are in `loss` already
    trainings = found["loss"].size + longer.size + int(found["pilot_loss"].notnull().sum())
    print(
        f"{trainings} trainings, {found.sizes['seed']} seeds in each of two runs, {found.sizes['rate']} rates, "
        f"{found.attrs['steps']} steps. Losses are in nats per character of held-out text. The frequencies of letters "
        f"alone have {single:.3f}, those of pairs {pairs:.3f}. 95 % intervals over seeds."
    )
    runs = [standings(found, run) for run in range(2)]
    for each, words in zip(runs, RUNS, strict=True):
        _table(found, each, words)
        _told(each, words)
    _both(runs)
    _limits(found)
    return _drawn(found, runs)


def _strengths(found: xr.Dataset) -> dict[str, float]:
    return {method: strength_of(method, found["pilot_loss"]) for method in found["rule"].values.tolist()}


def _table(found: xr.Dataset, each: Standings, words: str) -> None:
    widths = [f"loss, width {width}" for width in WIDTHS]
    heads = ["method", "strength", *widths, "against AdamW, millinats", "best rate moves", "within 1 %", "steps saved"]
    print(
        f"{words}, each method at the rate that the other run chose:\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}"
    )
    strengths = _strengths(found)
    for place in np.argsort(each.losses.mean((1, 2))):
        method = each.methods[place]
        cells = [f"{strengths[method]:g}" if len(METHODS[method][1]) > 1 else ""]
        cells += [f"{value:.3f}" for value in each.losses[place].mean(-1)]
        change = each.against(method)
        low, high = mean_interval(change, resamples=RESAMPLES)
        cells.append("" if method == BASE else f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
        cells.append(each.said(each.moves[:, place]))
        cells.append(each.said(each.breadths[:, place], sign=""))
        cells.append("" if method == BASE else each.said(100 * each.savings[:, place], 0) + " %")
        print(f"| {method} | {' | '.join(cells)} |")


def _told(each: Standings, words: str) -> None:
    signs = each.beyond_chance()
    for sign, verb in ((-1, "lower"), (1, "higher")):
        listed = [method for method, found in signs.items() if found == sign]
        told = f"{len(listed)} of {len(signs)} methods have a {verb} loss than AdamW beyond chance (t-test, Holm)"
        print(f"{words}: {told}. They are: {', '.join(listed) or 'none'}.")
    adamw = each.methods.index(BASE)
    shown = [
        each.methods.index(method) for method in ("Hyperball", "Muon with decay", "Scion") if method in each.methods
    ]
    for place in shown:
        smaller = np.abs(each.moves[:, place]) - np.abs(each.moves[:, adamw])
        wider = each.breadths[:, place] - each.breadths[:, adamw]
        print(
            f"{words}: {each.methods[place]} instead of AdamW saves {each.said(100 * each.savings[:, place], 0)} % of "
            f"the steps. The movement of the best rate changes in size by {each.said(smaller)} decades, and the rates "
            f"within 1 % by {each.said(wider)} decades."
        )
    means = {method: float(mean) * MILLI for method, mean in zip(each.methods, each.losses.mean((1, 2)), strict=True)}
    for what, some in (("forms of Adam with norm control", ADAMS), ("decays", ADAMS[:4])):
        if not set(some) <= set(means):
            continue
        gaps = [abs(means[a] - means[b]) for a, b in combinations(some, 2)]
        told = (
            f"two of the {len(some)} {what} differ by {np.median(gaps):.1f} millinats (median), {max(gaps):.1f} at most"
        )
        print(f"{words}: {told}.")
    seen = np.median([detectable(each.against(method)) for method in each.methods if method != BASE])
    print(f"{words}, power: four of five such studies would see a change against AdamW of {seen:.1f} millinats.")
    few = t.ppf(0.975, each.seeds - 1) + t.ppf(0.8, each.seeds - 1)
    moved, broad = (few * np.median(values[1:].std(0, ddof=1)) for values in (each.moves, each.breadths))
    print(
        f"{words}, power: they would see a movement of {moved:.2f} decades, or a breadth of {broad:.2f} decades more."
    )
    print(f"{words}: the rate is an end of the grid for {each.edges} of {each.losses[..., 0].size} methods and widths.")


def _both(runs: list[Standings]) -> None:
    signs = [each.beyond_chance() for each in runs]
    for sign, verb in ((-1, "lower"), (1, "higher")):
        listed = [method for method in signs[0] if signs[0][method] == signs[1][method] == sign]
        print(f"Both runs: the loss is {verb} than AdamW's beyond chance with {', '.join(listed) or 'no method'}.")
    order = [each.losses.mean((1, 2)) for each in runs]
    print(f"Both runs: the order of the methods has a rank correlation of {spearmanr(*order).statistic:.2f}.")


def _limits(found: xr.Dataset) -> None:
    strengths = _strengths(found)
    tuned = [method for method in strengths if len(METHODS[method][1]) > 1]
    ends = [method for method in tuned if strengths[method] in (METHODS[method][1][0], METHODS[method][1][-1])]
    print(
        f"The pilot chose the smallest or the largest strength for {len(ends)} of {len(tuned)}"
        f"{': ' if ends else ''}{', '.join(ends)}."
    )
    lost = float((found["loss"] >= WORST).mean())
    print(f"{lost:.2%} of the trainings diverged or ended with a loss of {WORST:g} or more.")


def _drawn(found: xr.Dataset, runs: list[Standings]) -> Figure:
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1.1, 1])
    order = np.argsort(sum(each.losses.mean((1, 2)) for each in runs))
    names = [runs[0].methods[place] for place in order]
    for each, words, colour, shift in zip(runs, RUNS, (BLUE, ORANGE), (-0.15, 0.15), strict=True):
        heights = np.arange(len(names)) + shift
        changes = np.stack([each.against(name) for name in names])
        left.hlines(heights, *mean_interval(changes, resamples=RESAMPLES), color=colour)
        left.plot(changes.mean(1), heights, "o", color=colour, markersize=4, label=words)
        moves = each.moves[:, order]
        middle.hlines(heights, *widened_interval(moves[1:], each.seeds), color=colour)
        middle.plot(moves[0], heights, "o", color=colour, markersize=4)
    for ax, what in ((left, "loss against AdamW, millinats"), (middle, "movement of the best rate, decades")):
        ax.axvline(0, color=GREY, linestyle=":")
        ax.set_yticks(range(len(names)), names if ax is left else [])
        ax.invert_yaxis()
        ax.set_xlabel(what)
    left.set_title("mean of three widths, 95 % intervals")
    middle.set_title(f"from width {WIDTHS[0]} to {WIDTHS[-1]}")
    legend(left)
    shown = [name for name in (NONE, BASE, "Hyperball", "Muon with decay", "Scion") if name in names]
    curves = found["loss"].mean(("run", "seed"))
    for name, colour in zip(shown, COLOURS, strict=False):
        for width, line in ((WIDTHS[0], "--"), (WIDTHS[-1], "-")):
            label = name if width == WIDTHS[-1] else None
            right.plot(RATES, curves.sel(rule=name, width=width), line, color=colour, label=label)
    right.set_xscale("log")
    right.set(
        xlabel="learning rate",
        ylabel="loss on held-out text, nats",
        title=f"width {WIDTHS[0]} dashed, {WIDTHS[-1]} solid",
    )
    right.set_ylim(None, float(curves.min()) + 0.5)
    legend(right)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16, help="of each of the two runs")
    parser.add_argument("--steps", type=int, default=200)
    headline(parser, "league", trained, tell)


if __name__ == "__main__":
    main()
