"""Data sets, fitting, calibration, metrics with confidence intervals."""
