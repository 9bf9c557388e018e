"""The command `jaxreg watch`: shows the progress of a running sweep as a table."""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jaxreg.lab.sweeps.watching import Watch


def watch(path: Path, every: float, *, as_json: bool = False) -> None:
    """Show the progress of a sweep until it is finished. If the output is not a terminal, show the progress once.

    Args:
        path: Folder of the sweep.
        every: Seconds between updates.
        as_json: True to print the current state once, as JSON.
    """
    if not every > 0:
        raise ValueError(f"--every is {every}; expected a positive number of seconds")
    watched = Watch(path)
    watched.refresh()
    if as_json:
        print(json.dumps(_content(watched)))
    elif not sys.stdout.isatty():
        Console(width=100).print(_table(watched))
    else:
        with Live(_table(watched), auto_refresh=False) as live:
            while watched.finished < watched.lanes:
                time.sleep(every)
                watched.refresh()
                live.update(_table(watched), refresh=True)


def _content(watched: Watch) -> dict[str, Any]:
    return {
        "lanes": watched.lanes,
        "finished": watched.finished,
        "diverged": watched.diverged,
        "lanes_per_second": watched.speed,
        "seconds_left": watched.seconds_left,
        "outputs": {
            name: {"count": f.count, "mean": f.total / f.count, "min": f.low, "max": f.high}
            for name, f in watched.figures.items()
            if f.count
        },
    }


def _table(watched: Watch) -> Table:
    content = _content(watched)
    left = content["seconds_left"]
    parts = [f"{watched.finished} of {watched.lanes} runs", f"{watched.diverged} diverged"]
    if watched.finished < watched.lanes:
        parts += [f"{watched.speed:.3g} runs/s", "" if left is None else f"{timedelta(seconds=round(left))} left"]
        if watched.latest is not None:
            parts.append(f"last chunk {timedelta(seconds=max(0, round(time.time() - watched.latest)))} ago")
    table = Table(title=str(watched.path), caption=", ".join(filter(None, parts)))
    for column in ("output", "runs", "mean", "min", "max"):
        table.add_column(column, justify="left" if column == "output" else "right")
    for name, figures in content["outputs"].items():
        numbers = (f"{figures[key]:.5g}" for key in ("mean", "min", "max"))
        table.add_row(name, str(figures["count"]), *numbers)
    return table
