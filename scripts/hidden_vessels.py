"""How much of a simulated vessel truth nobody could see: the primary beam against what the picture shows.

Simulates patients, takes their intracranial runs with contrast and without motion, and compares the vessels that the
primary beam alone would show with those behind scatter, local noise and the console's range. The shipped vessel bundle
is measured against both.

    python scripts/hidden_vessels.py --patients 12 [--anatomy DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ClaireDSALib.simulator.case import Run


def main() -> None:
    """Print the hidden share, and the Dice against both truths."""
    from ClaireDSALib.models.vessel_segmenter import load_segmenter
    from ClaireDSALib.simulator.as_series import series_of
    from ClaireDSALib.simulator.case import iterate_runs
    from ClaireDSALib.training.simulated_set import draw_patient
    from ClaireDSALib.training.vessel_parts import segment_series
    from ClaireDSALib.training.vessel_scores import dice

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9_000_000, help="seed of the first patient")
    parser.add_argument("--anatomy", type=Path, help="folder with SWC trees and head CTs to mix in")
    arguments = parser.parse_args()
    segmenter = load_segmenter("dsa_vessels")
    hidden, reached = [], []
    for seed in range(arguments.seed, arguments.seed + arguments.patients):
        rng = np.random.default_rng([seed, 91])
        patient = draw_patient(seed, "test", rng, anatomy=arguments.anatomy, head_share=0.3)
        for run in iterate_runs(patient, runs=8, size=384):
            beam = _of_the_primary_beam(run)
            if not _is_plain(run) or not beam.any():
                continue
            found = segment_series(series_of(run), segmenter).mask("vessel")
            hidden.append(1 - (beam & run.visible).sum() / beam.sum())
            reached.append([dice(found, truth) for truth in (beam, run.visible)])
        print(f"patient {seed}: {len(hidden)} runs so far", flush=True)
    low, middle, high = np.percentile(hidden, (5, 50, 95))
    print(
        f"hidden share of the beam's vessels: mean {np.mean(hidden):.3f}, median {middle:.2f} ({low:.2f} to {high:.2f})"
    )
    first, second = np.nanmean(reached, axis=0)
    print(f"Dice of dsa_vessels against the beam's vessels {first:.3f}, against those shown {second:.3f}")


def _is_plain(run: Run) -> bool:
    there = run.labels["contrast_fluid"] == "present" and run.labels["region"] == "intracranial"
    can_be_subtracted = run.subtractable or run.plan.delivery == "subtracted"
    return there and can_be_subtracted and run.plan.motion_grade == "none" and not run.plan.roadmap


def _of_the_primary_beam(run: Run) -> npt.NDArray[np.bool_]:
    from ClaireDSALib.simulator.shown_vessels import shown_vessels

    blur = run.plan.detector.blur_px
    arteries, veins = shown_vessels(run.iodine, run.opacity, run.quality["noise"], run.region, blur_px=blur)
    return arteries | veins


if __name__ == "__main__":
    main()
