"""What differs between patients: calibres, tortuosity and the variants of the circle of Willis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traits:
    """Drawn once per patient.

    Calibres are inner diameters over two, in mm. Means and spreads follow MR angiography of adults: ICA 4.2-4.9,
    M1 2.6-3.1, A1 2.0-2.4, BA 3.0-3.4, P1 2.0-2.3, VA 3.0-3.5 mm (Krabbe-Hartkamp 1998, Radiology 207:103;
    Wright 2013, DOI 10.1016/j.neuroimage.2013.05.089). Variants: hypoplastic A1 about 1 in 10, more often right;
    fetal PCA about 1 in 7 per side; hypoplastic VA about 1 in 10 per side.
    """

    age_years: float
    tortuosity: float
    """1 typical; grows with age."""
    ica_mm: dict[int, float]
    m1_mm: dict[int, float]
    a1_mm: dict[int, float]
    p1_mm: dict[int, float]
    va_mm: dict[int, float]
    pcom_mm: dict[int, float]
    ba_mm: float
    acom_mm: float
    fetal_pca: dict[int, bool]
    density: float
    """Number of cortical branches relative to the typical."""


def draw_traits(rng: np.random.Generator) -> Traits:
    """One patient's traits; sides vary independently except for a shared body size."""
    age = float(np.clip(rng.normal(66, 14), 22, 95))
    size = float(np.exp(rng.normal(0, 0.05)))
    tortuosity = float(np.exp(rng.normal(0, 0.18)) * (0.85 + 0.3 * (age - 22) / 70))

    def pair(mean: float, spread: float) -> dict[int, float]:
        return {side: size * mean * float(np.exp(rng.normal(0, spread))) for side in (1, -1)}

    ica, m1, a1, p1, va = pair(2.2, 0.07), pair(1.36, 0.08), pair(1.07, 0.12), pair(1.05, 0.1), pair(1.62, 0.13)
    fetal = {side: bool(rng.random() < 0.14) for side in (1, -1)}
    pcom = {side: float(rng.uniform(0.3, 0.7)) for side in (1, -1)}
    for side in (1, -1):
        if rng.random() < (0.08 if side == -1 else 0.04):
            a1[side] *= 0.5
        if rng.random() < 0.1:
            va[side] *= 0.55
        if fetal[side]:
            pcom[side], p1[side] = 0.95 * size, 0.45
    return Traits(
        age_years=age,
        tortuosity=tortuosity,
        ica_mm=ica,
        m1_mm=m1,
        a1_mm=a1,
        p1_mm=p1,
        va_mm=va,
        pcom_mm=pcom,
        ba_mm=size * 1.62 * float(np.exp(rng.normal(0, 0.09))),
        acom_mm=float(rng.uniform(0.3, 0.75)),
        fetal_pca=fetal,
        density=float(np.exp(rng.normal(0, 0.15))),
    )
