"""What the viewer looks like; plain HTML elements bound to the state of :mod:`ClaireDSALib.web.state`."""
