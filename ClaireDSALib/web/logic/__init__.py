"""What the viewer does; each file serves the user interface of the same name in :mod:`ClaireDSALib.web.ui`."""
