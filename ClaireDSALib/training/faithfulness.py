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


DEVICE_REACH = 0.015
"""Of the picture's side: about three millimetres of a head."""


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


def measure_device_maps(
    classifier: Classifier, folder: Path, *, split: str = "validation", limit: int = 100
) -> dict[str, Any]:
    """Where the map of the device label points in pictures that show one.

    Parameters
    ----------
    classifier : Classifier
    folder : Path
        Set of ``claire-dsa train device-set``.
    split : str
    limit : int
        Pictures with a device that are used at most.

    Returns
    -------
    dict
        ``pictures``, and means over them: ``mass_on_devices``, the share of the positive evidence within
        ``DEVICE_REACH`` of the picture's side of a device; ``area_of_devices``, what an even map would reach; and
        ``strongest_on_device``, the share of pictures whose strongest point lies there.

    Raises
    ------
    ValueError
        When no run of the split shows a device.
    """
    rows = []
    for record in read_index(folder, f"claire-dsa train device-set --out {folder}"):
        if record.get("split") != split or record["labels"]["device"] != "present" or len(rows) == limit:
            continue
        with np.load(folder / record["npz"], allow_pickle=False) as arrays:
            picture, device = arrays["brightest"], arrays.get("device")
        if device is not None and device.any():
            found = classifier.classify(picture, brightest=picture, subtraction_state="unsubtracted")
            rows.append(_on_device(found.cams["device"]["present"], device))
    if not rows:
        msg = f"{folder} holds no runs that show a device in split {split!r}"
        raise ValueError(msg)
    names = ("mass_on_devices", "area_of_devices", "strongest_on_device")
    return {"pictures": len(rows), **{n: float(np.nanmean([r[k] for r in rows])) for k, n in enumerate(names)}}


def _on_device(cam: npt.NDArray[np.float32], device: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    from scipy.ndimage import distance_transform_edt

    near = distance_transform_edt(~device) <= DEVICE_REACH * max(device.shape)
    place = np.unravel_index(int(cam.argmax()), cam.shape)
    row, column = (int((p + 0.5) * side / n) for p, side, n in zip(place, device.shape, cam.shape, strict=True))
    return mass_inside(cam, near), float(near.mean()), float(near[row, column])


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
