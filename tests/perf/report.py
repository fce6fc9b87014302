"""How long does a report take? Seconds and peak memory for a suite of simulated cells; run by `make perf`.

    python tests/perf/report.py --strategies 10 --seeds 3
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from report_simulation import meta, simulate  # noqa: E402

from tlbench import report  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    frame = simulate(strategies=asked.strategies, seeds=asked.seeds)
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        report.write(frame, meta(), Path(folder))
        seconds = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"report of {len(frame)} cells: {seconds:.1f} s of CPU, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
