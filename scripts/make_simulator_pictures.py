"""Make the pictures of ``docs/simulator.md``: ``python scripts/make_simulator_pictures.py [--anatomy DIR]``.

Everything shown is simulated. With ``--anatomy`` trees and a head CT of that folder are used for the sheet of MinIPs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.simulator.case import Patient, Run, iterate_runs
from ClaireDSALib.simulator.dataset import anatomy_sources
from ClaireDSALib.simulator.demo import demo_case, pictures_for_eyes

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "simulator"
_TILE_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anatomy", type=Path, help="folder with SWC trees and a head CT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 43, 44], help="patients of the sheet")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    demo = demo_case(size=512, frames=16)
    minips = list(pictures_for_eyes(demo).values())
    _save("demo_minips", [_tile(picture) for picture in minips], 3)
    after = demo.runs[3]
    _save(
        "frames",
        [_tile(_spread(after.frames[k], cap=0.75)) for k in (0, 4, 6, 8)] + _subtracted(after, (4, 6, 8, 13)),
        4,
    )
    runs: list[Run] = []
    for seed in arguments.seeds:
        trees, head = anatomy_sources(arguments.anatomy, seed)
        runs += iterate_runs(Patient(seed, anatomy_dir=trees, head_ct=head), runs=6, size=384)
    _save("sheet", [_tile(_spread(run.frames.min(0))) for run in runs], 6, tile_px=200)


def _subtracted(run: Run, numbers: tuple[int, ...]) -> list[npt.NDArray[np.uint8]]:
    logarithm = np.log(np.maximum(run.frames.astype(np.float32), 1.0))
    mask = logarithm[list(run.plan.mask_frames)].mean(0)
    return [_tile(np.uint8(np.clip(205 + 160 * (logarithm[k] - mask), 0, 255))) for k in numbers]


def _spread(picture: npt.NDArray[np.unsignedinteger], cap: float = 1.0) -> npt.NDArray[np.uint8]:
    """Grey levels from the darkest pixel to the brightest, or to a quantile, so that air does not darken the rest."""
    values = picture.astype(np.float32)
    low, high = np.percentile(values, 0.1), np.quantile(values, cap) if cap < 1 else np.percentile(values, 99.9)
    return np.uint8(255 * np.clip((values - low) / max(float(high - low), 1e-6), 0, 1))


def _tile(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize((_TILE_PX, _TILE_PX), Image.Resampling.LANCZOS))


def _save(name: str, tiles: list[npt.NDArray[np.uint8]], columns: int, tile_px: int = _TILE_PX) -> None:
    small = [np.asarray(Image.fromarray(tile).resize((tile_px, tile_px))) for tile in tiles]
    rows = [np.hstack(small[k : k + columns]) for k in range(0, len(small) - columns + 1, columns)]
    path = TARGET / f"{name}.png"
    Image.fromarray(np.vstack(rows)).quantize(64).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
