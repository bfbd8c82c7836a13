"""Which files a run in progress has written, so that none is missed when the run is committed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["StagedFiles"]

_END = ".parquet"


class StagedFiles:
    """A list of names, a line each, kept with the run's state for the processes that go on.

    Clean-up jobs of shared disks delete old files and spare the new ones; a run that was committed
    without the old ones would lack rows, and nobody would know.

    Args:
        folder: the later run.
        path: where the list is.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.path = path

    def add(self, file: Path) -> None:
        """Note a file that is whole."""
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(f"\n{file.relative_to(self.folder).as_posix()}\n")

    def missing(self) -> Path | None:
        """Return a file that was written and is not there; None if all are."""
        if not self.path.exists():
            return None
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        # A power cut may leave zeros, or a line without its end, where a name was to be.
        names = [name for name in lines if name.endswith(_END) and "\0" not in name]
        return next(
            (self.folder / name for name in names if not (self.folder / name).exists()), None
        )
