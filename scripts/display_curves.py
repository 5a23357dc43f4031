"""How well noise tells the curve of display pixels, and what that is worth to the vessels.

Simulates patients of the looks that store display pixels, takes their unsubtracted runs, and prints the power of the
intensity beside the one that the noise shows. Runs that are fit for segmentation by their true labels and did not move
are segmented by the shipped vessel bundle, as they are and with their pixels taken for logarithmic.

    python scripts/display_curves.py --patients 12 [--anatomy DIR]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ClaireDSALib.simulator.case import Run


def main() -> None:
    """Print both powers of every run, their median difference, and the Dice either way."""
    from ClaireDSALib.dsa.display_curve import display_power
    from ClaireDSALib.models.vessel_segmenter import load_segmenter
    from ClaireDSALib.simulator.as_series import series_of
    from ClaireDSALib.simulator.case import iterate_runs
    from ClaireDSALib.simulator.vendor import LOOKS
    from ClaireDSALib.training.simulated_set import draw_patient
    from ClaireDSALib.training.vessel_parts import segment_series
    from ClaireDSALib.training.vessel_scores import dice

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9_100_000, help="seed of the first patient")
    parser.add_argument("--anatomy", type=Path, help="folder with SWC trees and head CTs to mix in")
    arguments = parser.parse_args()
    looks = [name for name, look in LOOKS.items() if look.relation == "DISP"]
    segmenter = load_segmenter("dsa_vessels")
    powers, scores, untold = [], [], 0
    for number in range(arguments.patients):
        seed = arguments.seed + number
        patient = draw_patient(seed, "test", np.random.default_rng([seed, 91]), anatomy=arguments.anatomy, head_share=0)
        for run in iterate_runs(patient, runs=8, size=384, vendor=looks[number % len(looks)]):
            if run.plan.delivery == "subtracted" or len(run.frames) < 3:
                continue
            series = series_of(run)
            found, look = display_power(series), run.plan.look
            untold += found is None
            if found is not None:
                powers.append((look.gamma, found))
            said = "nothing" if found is None else f"{found:.2f}"
            print(f"{seed} {look.name}: power {look.gamma:.2f}, noise says {said}", flush=True)
            if _is_plain(run):
                logarithmic = replace(series, intensity=replace(series.intensity, relation="LOG"))
                masks = [segment_series(one, segmenter).mask("vessel") for one in (logarithmic, series)]
                scores.append([dice(mask, run.visible) for mask in masks])
    error = np.abs(np.log(np.divide(*np.transpose(powers))))
    print(f"{len(powers) + untold} runs, {untold} without a curve; the power is off by {np.median(error):.0%} (median)")
    first, second = np.mean(scores, axis=0)
    print(f"vessel Dice of {len(scores)} runs: taken for logarithmic {first:.3f}, by the curve {second:.3f}")


def _is_plain(run: Run) -> bool:
    from ClaireDSALib.training.vessel_evaluate import is_suitable

    fit = is_suitable({"labels": run.labels, "motion": run.plan.motion_grade}) and run.plan.motion_grade == "none"
    return fit and run.subtractable and not run.plan.roadmap and bool(run.visible.any())


if __name__ == "__main__":
    main()
