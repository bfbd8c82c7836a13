"""The state of a pass, saved beside the pass: on the disk whole, with all values it speaks of."""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.warehouse.files import whole

__all__ = ["SavedState"]

_log = logging.getLogger(__name__)


class SavedState:
    """One file of tensors, and a few numbers; a later save takes the place of an earlier one.

    The disk is slow and the pass need not wait for it: `save` copies the tensors, and a thread
    writes them. At most one save is under way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(1, "neuronmap-save")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> SavedState:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End: what is under way is still finished, and if nothing else went wrong, must be."""
        self._writer.shutdown()
        if kind is None:
            self.wait()

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._under_way is not None and not self._under_way.done()

    def save(
        self, tensors: dict[str, Tensor], where: dict[str, Any], spools: Sequence[Spool]
    ) -> None:
        """Begin to save; waits for the save before.

        Args:
            tensors: the state, on any device.
            where: what JSON can hold.
            spools: values that must be on the disk when the state is.

        Raises:
            OSError: the save before failed.
        """
        self.wait()
        copies = {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}
        self._under_way = self._writer.submit(self._write, copies, where, spools)

    def wait(self) -> None:
        """Wait until what was begun is on the disk; raises what went wrong there."""
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            done.result()

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return the numbers and the tensors of the last save, if there is one."""
        self.wait()
        if not self.path.exists():
            return None
        with safe_open(self.path, "pt") as held:
            where: dict[str, Any] = json.loads(held.metadata()["where"])
            return where, {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118

    def _write(
        self, tensors: dict[str, Tensor], where: dict[str, Any], spools: Sequence[Spool]
    ) -> None:
        for spool in spools:
            spool.flush()
        with whole(self.path) as part:
            try:
                save_file(tensors or {"none": torch.zeros(1)}, part, {"where": json.dumps(where)})
            except SafetensorError as error:  # its word for any trouble of the disk
                code = re.search(r"os error (\d+)", str(error))
                raise OSError(int(code[1]) if code else errno.EIO, str(error), str(part)) from error
        _log.info("state saved: %s", where)
