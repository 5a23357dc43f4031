"""Choices of the analysis that the panel offers as lists."""

from __future__ import annotations

import enum

from slicer.i18n import tr as _


class CamMethod(enum.Enum):
    """How class-activation maps are computed."""

    GRADCAM = "gradcam"
    GRADCAM_PP = "gradcam++"

    def label(self) -> str:
        return {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}[self.value]


class Motion(enum.Enum):
    """Motion correction between mask and contrast frames."""

    NEEDED = "needed"
    OFF = "off"
    AUTO = "auto"
    TRANSLATION = "translation"
    RIGID = "rigid"
    BSPLINE = "bspline"

    def label(self) -> str:
        return {
            "needed": _("when the labels see motion"),
            "off": _("off"),
            "auto": _("every run, where it helps"),
            "translation": _("translation"),
            "rigid": _("rigid"),
            "bspline": _("B-spline"),
        }[self.value]


class Device(enum.Enum):
    """Where the models run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {"auto": _("graphics card when there is one"), "cpu": "CPU", "cuda": "CUDA"}[self.value]
