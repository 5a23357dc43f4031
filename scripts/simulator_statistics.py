"""Compare simulated MinIPs with real ones: ``python scripts/simulator_statistics.py REAL_FOLDER [--patients 4]``.

Prints two-sample distances before and after tuning the console look; as a yardstick also those between two halves of
the real pictures.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ClaireDSALib.simulator.statistics import Distances, as_real, distances, matching_runs, measure, read_real, tuned
from ClaireDSALib.simulator.vendor import VendorLook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path, help="folder with *_minip.png and *_label.png")
    parser.add_argument("--patients", type=int, default=4, help="simulated patients with six runs each")
    arguments = parser.parse_args()
    pictures, labels = read_real(arguments.real)
    real = measure(pictures, labels)
    print(f"{len(pictures)} real pictures, {6 * arguments.patients} simulated; distances (0 is equal)")
    print(f"{'':28s}" + "".join(f"{name:>10s}" for name in asdict(distances(real, real))))
    half = distances(measure(pictures[::2], labels[::2]), measure(pictures[1::2], labels[1::2]))
    _row("real against real (halves)", half)
    plain = VendorLook("plain")
    _row("simulated, plain look", distances(measure(*as_real(matching_runs(arguments.patients, plain))), real))
    look, _ = tuned(plain, real)
    _row("simulated, tuned look", distances(measure(*as_real(matching_runs(arguments.patients, look))), real))
    print(f"tuned: opacity_range={look.opacity_range} edge_gain={look.edge_gain} background={look.background}")
    print(f"vessel fraction, real: {real.fraction.round(3).tolist()}")


def _row(name: str, found: Distances) -> None:
    print(f"{name:28s}" + "".join(f"{value:10.3f}" for value in asdict(found).values()))


if __name__ == "__main__":
    main()
