"""Quality grade of a simulated run, by a fixed rule over what was simulated.

The rule has the shape of Bottani et al. (arXiv 2104.08131): three things are graded 0, 1 or 2, and the worst decides.

==================  ======================  =================================  ================================
grade               contrast                motion artefact (log attenuation)  contrast-to-noise ratio
==================  ======================  =================================  ================================
0: good             present                 below 0.035                        25 or more
1: acceptable                               0.035 to 0.18                      10 to 25
2: poor             absent                  0.18 or more                       below 10
==================  ======================  =================================  ================================

The ratio is that of the strongest contrast (99th percentile of the noise-free peak opacity that the detector gets) to
the noise of one frame. At 25, a vessel with a fifth of the strongest contrast still stands five deviations out of the
noise, which is what a detail needs to be seen with certainty (Rose 1948, doi 10.1364/JOSA.38.000196); at 10 only one
with half of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.simulator.motion import GRADE_LIMITS

CONTRAST_TO_NOISE_LIMITS = (10.0, 25.0)
"""Below the first a run is poor, below the second acceptable at best."""


def quality_grade(quality: Mapping[str, float], contrast: str) -> str:
    """``good``, ``acceptable`` or ``poor``.

    Parameters
    ----------
    quality : mapping
        ``artefact`` and ``contrast_to_noise`` of a simulated run.
    contrast : "absent" or "present"
        The run's label for contrast.
    """
    motion = sum(quality["artefact"] >= limit for limit in GRADE_LIMITS)
    noise = sum(quality["contrast_to_noise"] < limit for limit in CONTRAST_TO_NOISE_LIMITS)
    return GRADES[max(motion, noise, 2 if contrast == "absent" else 0)]


def grade_of_record(record: Mapping[str, Any]) -> str:
    """Grade of one line of a simulated set's index."""
    return quality_grade(record["quality"], record["labels"]["contrast_fluid"])
