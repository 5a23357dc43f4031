"""From series to report: settings, analysis, suitability, provenance, worker."""
