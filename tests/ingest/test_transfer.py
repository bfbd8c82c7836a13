"""Values reach the spool in their places, at once or beside the pass."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.ingest.extraction.transfer import Transfer

TOKENS, WIDTH = 300, 7


@pytest.mark.parametrize("beside", [False, True])
def test_all_values_arrive_though_their_memory_is_used_again(tmp_path: Path, beside: bool) -> None:
    random = np.random.default_rng(0)
    expected = random.standard_normal((TOKENS, WIDTH)).astype(np.float32)
    spools = [Spool(tmp_path / name, TOKENS, WIDTH) for name in "ab"]
    memory = torch.empty(64, WIDTH)
    with Transfer(beside=beside) as transfer:
        for rows in np.array_split(random.permutation(TOKENS), 17):
            for sign, spool in zip((1, -1), spools, strict=True):
                values = memory[: len(rows)]
                values.copy_(torch.from_numpy(sign * expected[rows]))
                transfer.write(spool, values, rows)
                values.fill_(torch.nan)
        transfer.wait()
        np.testing.assert_array_equal(spools[0].values, expected.astype(np.float16))
    np.testing.assert_array_equal(spools[1].values, -expected.astype(np.float16))


def test_few_copies_are_under_way_at_once(tmp_path: Path) -> None:
    slow, begun = threading.Event(), []

    class Slow(Spool):
        def write(self, values: torch.Tensor, tok: npt.NDArray[np.int64]) -> None:
            begun.append(tok[0])
            slow.wait(10)

    spool = Slow(tmp_path / "a", TOKENS, WIDTH)
    with Transfer(beside=True) as transfer:
        for number in range(4):
            transfer.write(spool, torch.zeros(1, WIDTH), np.array([number]))
        fifth = threading.Thread(
            target=transfer.write, args=(spool, torch.zeros(1, WIDTH), np.array([4]))
        )
        fifth.start()
        fifth.join(0.05)
        assert fifth.is_alive()
        slow.set()
        fifth.join(10)
        transfer.wait()
    assert begun == [0, 1, 2, 3, 4]


def test_what_goes_wrong_beside_the_pass_is_raised_in_it(tmp_path: Path) -> None:
    class Full(Spool):
        def write(self, values: torch.Tensor, tok: npt.NDArray[np.int64]) -> None:
            raise OSError(errno.EIO, "broken")

    spool = Full(tmp_path / "a", TOKENS, WIDTH)
    with pytest.raises(OSError, match="broken"), Transfer(beside=True) as transfer:
        transfer.write(spool, torch.zeros(1, WIDTH), np.array([0]))
