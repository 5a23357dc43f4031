"""Draw docs/images/devices.png: simulated runs with devices, and what the shipped label bundle marks in them.

python scripts/make_device_picture.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

OUT = Path(__file__).parents[1] / "docs" / "images" / "devices.png"
SIDE_PX = 320
DEVICES = (("guide_wire",), ("stent_retriever", "clip"), ("coils", "electrodes"), ("microcatheter", "shunt"))
MARKED, MARK = 255, (255, 96, 32)
"""Grey value that stands for what is marked, and its colour."""
COARSE = 8
"""Step of the grey values, so that the file stays small."""


def main() -> None:
    """Simulate, mark, draw."""
    from ClaireDSALib.dsa.projection import brightest
    from ClaireDSALib.models.classifier import load_classifier
    from ClaireDSALib.simulator.as_series import series_of
    from ClaireDSALib.simulator.case import Patient, take_run
    from ClaireDSALib.simulator.plan import draw_plan

    classifier, columns = load_classifier("dsa_image_properties"), []
    for number, devices in enumerate(DEVICES):
        rng = np.random.default_rng([20, number])
        plan = draw_plan(rng, size=2 * SIDE_PX, body_part="head", vessel="ICA", vendor="classic")
        plan = replace(plan, delivery="unsubtracted", single_frame=False, roadmap=False, devices=devices)
        run = take_run(Patient(20 + number), plan, "run")
        picture = brightest(series_of(run))
        found = classifier.classify(picture, brightest=picture, subtraction_state="unsubtracted")
        marked = found.cams["device"]["present"]
        print(f"{', '.join(devices)}: probability of a device {found.label('device').probabilities[1]:.2f}")
        columns.append(_drawn(picture, marked, run.region))
    sheet = Image.fromarray(np.concatenate(columns, axis=1)).convert("L")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.putpalette([value for grey in range(MARKED) for value in (grey, grey, grey)] + list(MARK))
    sheet.save(OUT, optimize=True)
    print(OUT)


def _drawn(
    picture: npt.NDArray[np.unsignedinteger], marked: npt.NDArray[np.float32], region: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """The picture above, and below it with what is more likely a device than not."""
    low, high = np.percentile(picture[region], (0.1, 99.0))
    grey = np.clip((picture - low) / (high - low), 0, 1) ** 0.6
    size = (SIDE_PX, SIDE_PX)
    plain = Image.fromarray(np.round((MARKED - 1) * grey).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    logits = np.asarray(Image.fromarray(marked).resize(size, Image.Resampling.BILINEAR))
    plain = plain.point(lambda value: value // COARSE * COARSE)
    shown = np.array(plain)
    shown[logits > 0] = MARKED
    return np.concatenate([np.array(plain), shown])


if __name__ == "__main__":
    main()
