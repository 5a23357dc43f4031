"""Simulated cerebral angiography with exact ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case import Case


def simulate_case(seed: int, **options: Any) -> Case:
    """Simulate a patient with its runs: see :func:`ClaireDSALib.simulator.case.simulate_case`."""
    from .case import simulate_case as simulate  # scipy and SimpleITK only when needed

    return simulate(seed, **options)
