"""Pictures with a vertical artery and a horizontal vein, and a set of them on disk."""

import json
from pathlib import Path

import numpy as np

from ClaireDSALib.training.vessel_examples import VesselExample

TINY = (4, 8, 8, 8, 8, 4)
"""Widths of a vessel network that learns in seconds."""
SUITABLE = {"contrast_fluid": "present", "region": "intracranial", "projection": "ap"}


def a_picture(seed: int, side: int = 96) -> VesselExample:
    """Bright bars on noise: a vertical artery, early, and a horizontal vein, late."""
    rng = np.random.default_rng(seed)
    artery, vein = np.zeros((side, side), bool), np.zeros((side, side), bool)
    column, row = rng.integers(20, side - 20, 2)
    artery[:, column - 2 : column + 3] = True
    vein[row - 4 : row + 5] = True
    peak = np.maximum(0.8 * artery, 0.75 * vein) + rng.normal(0, 0.03, (side, side))
    times = np.stack([1.0 * artery, 0.9 * vein]) + rng.normal(0, 0.03, (2, side, side))
    facts = {"motion": "none", "vendor": "north", "labels": dict(SUITABLE)}
    return VesselExample(
        peak.astype(np.float16), np.stack([artery | vein, artery, vein]), f"p{seed}", times.astype(np.float16), facts
    )


def write_set(folder: Path) -> None:
    """Two runs to train on and one to validate, without frames, as ``claire-dsa train vessels`` reads them."""
    (folder / "runs").mkdir(parents=True)
    lines = []
    for number, split in enumerate(("train", "train", "validation")):
        one = a_picture(number)
        region = np.ones(one.opacity.shape, bool)
        np.savez(folder / "runs" / f"{number}.npz", peak=one.opacity, vessels=one.truth, region=region)
        facts = {"patient": str(number), "split": split, "labels": SUITABLE, "motion": "none"}
        lines.append(json.dumps({"npz": f"runs/{number}.npz"} | facts) + "\n")
    (folder / "index.jsonl").write_text("".join(lines))
