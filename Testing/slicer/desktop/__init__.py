"""A small stand-in for the 3D Slicer desktop: Qt, CTK and qMRML widgets over PySide6, on slicer-core's real MRML.

It lets the unchanged module files and .ui files run where the desktop application cannot be installed.
It is a test tool, never shipped. Names of classes, properties, signals and slots are those of the desktop;
what it does not imitate raises instead of being silently accepted.
"""
