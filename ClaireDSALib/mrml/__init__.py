"""The report in a Slicer scene; the only place where the library touches slicer and vtk."""
