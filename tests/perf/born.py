"""With which variables is a worker of tlbench born? Contestants run in one process that was born the same way."""

from __future__ import annotations

import json
import os
import sys
import tempfile

from tlbench import executors, machine
from tlbench.store import Store
from tlbench.width import MachinePlan

PLAN = "TLBENCH_PERF_PLAN"  # what was measured of this machine before the script began anew


def again() -> MachinePlan:
    """Starts this script anew as a worker would start, and returns the plan that a run would measure here.

    Libraries read these variables once, when they are loaded.
    """
    known = os.environ.get(PLAN)
    if known is not None:
        return MachinePlan(**json.loads(known))
    with tempfile.TemporaryDirectory(prefix="tlbench-machine-") as folder, Store.open(folder) as store:
        plan = machine.kept(store, "cpu", say=print)
    sys.stdout.flush()
    with executors.born(plan):
        os.execve(
            sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, PLAN: json.dumps(plan._asdict())}
        )


def variables() -> dict[str, str]:
    """Those of this process that decide how its libraries work."""
    return {name: os.environ[name] for name in executors.VARIABLES if name in os.environ}
