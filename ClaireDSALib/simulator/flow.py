"""How contrast travels: injection, arrival times, dispersion, dilution, parenchyma, veins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InjectedVessel = Literal["ICA", "ECA", "CCA", "VA", "ARCH", "FEMORAL"]
INJECTED_VESSELS: tuple[InjectedVessel, ...] = ("ICA", "ECA", "CCA", "VA", "ARCH", "FEMORAL")


@dataclass(frozen=True)
class Injection:
    """One injection of contrast.

    Parameters
    ----------
    vessel : str
        One of ``INJECTED_VESSELS``: where the catheter tip lies.
    side : "left" or "right"
        Ignored for the arch.
    rate_ml_s, duration_s : float
        Injector settings; a low rate dilutes, a short one ends early.
    start_s : float
        Start of the injection on the clock of ``times_s``; negative for a late-started run.
    concentration_mg_ml : float
        Iodine in the syringe; 0 for a run without contrast.
    reflux : float
        0 to 1: share that spills back into the vessel below the tip and its other branches (ICA injection: ECA).
    cross_filling : float
        0 to 1: how much passes the anterior and posterior communicating arteries to the other side.
    speed_scale : float
        Cardiac output: 1 typical; below 1 slower everywhere.
    heart_rate_hz : float
        Pulsation of the inflow.
    tip : float
        0 to 1: how far up the injected segment the tip stands.
    """

    vessel: InjectedVessel = "ICA"
    side: Literal["left", "right"] = "left"
    rate_ml_s: float = 4.0
    duration_s: float = 2.0
    start_s: float = 0.8
    concentration_mg_ml: float = 300.0
    reflux: float = 0.0
    cross_filling: float = 0.0
    speed_scale: float = 1.0
    heart_rate_hz: float = 1.2
    tip: float = 0.3

    def __post_init__(self) -> None:
        if self.vessel not in INJECTED_VESSELS:
            msg = f"vessel must be one of {INJECTED_VESSELS}; got {self.vessel!r}"
            raise ValueError(msg)
        if self.rate_ml_s <= 0 or self.duration_s <= 0 or self.speed_scale <= 0:
            msg = (
                "rate_ml_s, duration_s and speed_scale must be positive; got "
                f"{self.rate_ml_s}, {self.duration_s}, {self.speed_scale}"
            )
            raise ValueError(msg)
        if self.concentration_mg_ml < 0:
            msg = f"concentration_mg_ml must not be negative; got {self.concentration_mg_ml}"
            raise ValueError(msg)
