"""Do the maps point at what decides? Measured where simulation knows the cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.cam import deletion_curve, mass_inside
from ClaireDSALib.models.classifier import Classifier
from ClaireDSALib.models.preprocessing import resize
from ClaireDSALib.models.views import make_views
from ClaireDSALib.training.simulated_set import read_index

REACH = 9
"""The cause is widened by this many pixels at the network's input: a map has one value per 32 pixels."""


def measure_maps(
    classifier: Classifier, folder: Path, *, split: str = "test", limit: int = 100, seed: int = 0
) -> dict[str, Any]:
    """Deletion and insertion areas against random maps, and the share of contrast evidence on visible vessels.

    Parameters
    ----------
    folder : Path
        Simulated set whose NPZ files hold ``minip`` and ``visible`` (H, W) bool, or ``vessels`` (3, H, W) bool as label
        sets have it. Of runs with two pictures the stored one is read.
    limit : int
        Pictures with contrast that are used at most.

    Returns
    -------
    dict
        Means over pictures: ``mass_on_vessels`` and the share of the picture those vessels cover (what an even map
        would reach), ``deletion``, ``insertion`` and both for shuffled maps.
    """
    rng = np.random.default_rng(seed)
    records = read_index(folder, f"claire-dsa simulate --format npz --out {folder}")
    stored = [r for r in records if r.get("split") == split and r.get("picture", "minip") == "minip"]
    wanted = [r for r in stored if r["labels"]["contrast_fluid"] == "present"]
    rows = [row for r in wanted[:limit] if (row := _one(classifier, folder / r["npz"], rng)) is not None]
    if not rows:
        msg = f"{folder} holds no runs with contrast and visible vessels in split {split!r}"
        raise ValueError(msg)
    names = ("mass_on_vessels", "area_of_vessels", "deletion", "deletion_shuffled", "insertion", "insertion_shuffled")
    return {"pictures": len(rows), **{n: float(np.nanmean([r[k] for r in rows])) for k, n in enumerate(names)}}


def _one(classifier: Classifier, path: Path, rng: np.random.Generator) -> tuple[float, ...] | None:
    from scipy.ndimage import binary_dilation

    with np.load(path, allow_pickle=False) as arrays:
        minip, visible = arrays["minip"], arrays["visible"] if "visible" in arrays else arrays["vessels"][0]
    if np.ptp(minip) == 0 or not visible.any():
        return None
    spec = classifier.bundle.input_spec
    cam = classifier.classify(minip).cams["contrast_fluid"]["present"]
    cause = binary_dilation(resize(visible.astype(np.uint8), spec.size_px) > 0.2, iterations=REACH)
    small = resize(minip, spec.size_px)
    position = classifier.bundle.labels.slice_of("contrast_fluid").start + 1

    def predict(image: npt.NDArray[np.float32]) -> float:
        stack = make_views(image, spec.views, spec.window_percentiles)
        return float(classifier.predict(stack[None])[0, position])

    shuffled = rng.permutation(cam.ravel()).reshape(cam.shape)
    areas = [deletion_curve(small, m, predict, insert=insert)[1] for insert in (False, True) for m in (cam, shuffled)]
    return mass_inside(cam, cause), float(cause.mean()), *areas
