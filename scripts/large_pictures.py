"""What the vessel network loses when it is shown large runs at a smaller size.

Simulates runs of 1024 px of patients that no network was trained on (trained trees may be among them) and segments the
suitable ones with the shipped vessel bundle at full size and at the size that its metadata sets.

    python scripts/large_pictures.py --patients 8 [--anatomy DIR]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SIDE_PX = 1024


def main() -> None:
    """Print Dice, clDice and the processor time of both sizes."""
    from ClaireDSALib.models.vessel_segmenter import load_segmenter
    from ClaireDSALib.training.vessel_evaluate import is_suitable
    from ClaireDSALib.training.vessel_examples import load_examples
    from ClaireDSALib.training.vessel_scores import centerline_dice, dice
    from ClaireDSALib.training.vessel_set import VesselSetPlan, make_vessel_set

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=8_000_000, help="seed of the first patient")
    parser.add_argument("--anatomy", type=Path, help="folder with SWC trees and head CTs to mix in")
    arguments = parser.parse_args()
    segmenter = load_segmenter("dsa_vessels")
    with TemporaryDirectory() as folder:
        plan = VesselSetPlan(
            Path(folder), arguments.patients, arguments.seed, 4, arguments.anatomy, sizes_px=(SIDE_PX,)
        )
        make_vessel_set(plan, lambda done, total: print(f"{done} of {total} patients", flush=True))
        runs = [one for one in load_examples(folder) if is_suitable(one.facts or {}) and one.truth[0].any()]
    shown = segmenter.looks
    for size in (SIDE_PX, max(look.most_px for look in shown)):
        segmenter.looks = tuple(replace(look, most_px=size) for look in shown)
        start, scores = time.process_time(), []
        for one in runs:
            times = one.absolute_times()
            mask = segmenter.segment(one.opacity.astype(np.float32), one.region, times=times).mask("vessel")
            scores.append((dice(mask, one.truth[0]), centerline_dice(mask, one.truth[0])))
        spent = (time.process_time() - start) / len(runs)
        first, second = np.mean(scores, axis=0)
        print(f"{size} px: Dice {first:.3f}, clDice {second:.3f}, {spent:.2f} s a run, {len(runs)} runs")


if __name__ == "__main__":
    main()
