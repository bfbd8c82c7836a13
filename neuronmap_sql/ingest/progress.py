"""Progress of long work, on standard error: rate, bytes and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Meter", "Reporter"]


class _Rate(ProgressColumn):
    """Tokens and bytes a second."""

    def render(self, task: Task) -> Text:
        """Show the rate of the task so far."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        said = f"{speed:,.0f} {task.fields['unit']}/s"
        if (done := task.fields["bytes"]) and task.elapsed:
            said += f" {done / task.elapsed / 1e6:,.1f} MB/s"
        return Text(said, style="progress.data.speed")


@dataclass
class Meter:
    """One piece of long work under way."""

    progress: Progress
    """Where it is shown."""
    task: TaskID
    """Which one it is."""
    told: Callable[[int], None] = lambda _: None
    """Told how much is done, each time."""
    done: int = 0
    """How much is done."""
    bytes: int = 0
    """Bytes handled so far."""

    def advance(self, amount: int, bytes_: int = 0) -> None:
        """Say that so much more is done."""
        self.bytes += bytes_
        self.done += amount
        self.told(self.done)
        self.progress.update(self.task, advance=amount, bytes=self.bytes)


class Reporter:
    """Shows progress bars, or nothing."""

    def __init__(self, *, show: bool = True) -> None:
        self._console = Console(stderr=True, quiet=not show)

    def say(self, message: str) -> None:
        """Print one line to standard error."""
        self._console.print(message, highlight=False, markup=False)

    @contextmanager
    def meter(
        self,
        title: str,
        total: int,
        unit: str,
        beat: Callable[[str, int, int, str], None] = lambda *_: None,
    ) -> Iterator[Meter]:
        """Show a bar while the `with` block lasts; tell `beat` title, done, total and unit."""
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"), _Rate(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=total, unit=unit, bytes=0)
            yield Meter(progress, task, lambda done: beat(title, done, total, unit))

    @contextmanager
    def counted(self, title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """Show a bar for work that tells by itself how much is done, of how much."""
        with self.meter(title, 1, unit) as meter:

            def told(done: int, total: int) -> None:
                meter.progress.update(meter.task, total=total)
                meter.advance(done - meter.done)

            yield told
