"""From stored values to attenuation: the one monotone curve behind every subtraction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.display_curve import display_power
from ClaireDSALib.dsa.series import DsaSeries

DISPLAY_SPAN = 2.5
"""Log attenuation that the full display range stands for; see :func:`ClaireDSALib.dsa.subtraction.to_display`."""

_SMALLEST_SIGNAL = 1.0
"""Stored values below one count are taken as one: the logarithm of nothing has no meaning."""


@dataclass(frozen=True)
class AttenuationCurve:
    """Attenuation ``a(v)`` of a stored value ``v``: strictly falling, so that dark means much.

    ``logarithmic``: the stored value is a power of the X-ray intensity and ``a = -slope * ln(max(v, 1))``, with one
    over the power as ``slope`` (Beer-Lambert; PS3.3 C.8.7.1.1.2 asks for a logarithm before subtraction of LIN
    pixels, whose power is 1). Otherwise the stored value is already linear in attenuation and ``a = -slope * v``.
    """

    logarithmic: bool
    slope: float = 1.0

    def __call__(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Attenuation of real stored values, any shape; float32."""
        if self.logarithmic:
            return (-self.slope * np.log(np.maximum(values, _SMALLEST_SIGNAL))).astype(np.float32)
        return (np.asarray(values, np.float64) * -self.slope).astype(np.float32)

    def table(self, dtype: np.dtype) -> npt.NDArray[np.float32]:
        """Attenuation of every value of an unsigned integer type: (256,) or (65536,) float32, read-only."""
        return _table(self, np.dtype(dtype))

    def of_pixels(self, values: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.float32]:
        """Attenuation of stored pixels, any shape; float32, in fresh memory."""
        return np.take(self.table(values.dtype), values, mode="wrap")  # no value lies outside; wrapping skips the check


@lru_cache(maxsize=16)
def _table(curve: AttenuationCurve, dtype: np.dtype) -> npt.NDArray[np.float32]:
    table = curve(np.arange(np.iinfo(dtype).max + 1, dtype=np.float64))
    table.flags.writeable = False
    return table


def attenuation_curve(series: DsaSeries) -> AttenuationCurve:
    """Choose the curve from the Pixel Intensity Relationship of the run.

    LIN, and unknown on an unsubtracted run: logarithm. LOG: linear in attenuation, the full stored range spanning
    ``ln(max + 1)`` as it does when a console stores a scaled logarithm. DISP: logarithm divided by the power of the
    intensity that their noise shows (:func:`~ClaireDSALib.dsa.display_curve.display_power`); as LOG where noise falls
    with brightness or tells nothing. Already subtracted: linear, the full stored range spanning
    :data:`DISPLAY_SPAN`, because the gain a console applied is not recorded; such opacities are comparable within a
    run, not between runs of different gain.

    Of a run with DISP pixels a few frames are decoded.
    """
    if series.subtraction_state == "subtracted":
        return AttenuationCurve(False, DISPLAY_SPAN / series.max_value)
    relation = series.intensity.relation
    if relation == "DISP" and (power := display_power(series)) is not None:
        return AttenuationCurve(True, 1.0 / power)
    if relation in ("LOG", "DISP"):
        return AttenuationCurve(False, math.log(series.max_value + 1) / series.max_value)
    return AttenuationCurve(True)
