"""How much is predicted at once, and when has memory run out?"""

from __future__ import annotations

import torch

PREDICT_ROWS = 1024  # rows times lanes predicted at once on a CPU, at most, where they take more than
PREDICT_LEAST_BYTES = 16 * 2**20  # which is little: no network is left above the tap
PREDICT_BYTES = 256 * 2**20  # of the largest output of a layer, for all of them
PREDICT_SHARE = 16  # part of a GPU's memory that this output may take instead (a guess, not measured)


def rows_at_once(device: torch.device, row_bytes: int) -> int:
    """Rows times lanes to predict at once; `row_bytes` is what the largest output of a layer takes for one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] // PREDICT_SHARE // row_bytes
    return min(max(PREDICT_ROWS, PREDICT_LEAST_BYTES // row_bytes), PREDICT_BYTES // row_bytes)


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
