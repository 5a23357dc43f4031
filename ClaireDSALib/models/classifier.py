"""From a MinIP to nine labels, their maps and an out-of-distribution verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.cam import CAM_METHODS
from ClaireDSALib.models.device_finder import DeviceFinder
from ClaireDSALib.models.engines import Engine, EngineOutputs, make_engine
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.known_bundle import load_known
from ClaireDSALib.models.preprocessing import is_picture, prepare
from ClaireDSALib.models.results import Classification, LabelProbabilities, OutOfDistributionScore
from ClaireDSALib.models.two_pictures import (
    merged,
    read_off_brightest,
    read_off_devices,
    read_off_frames,
    without_answers,
)


class Classifier:
    """A bundle on an engine, warm.

    Parameters
    ----------
    bundle : Bundle
    engine : Engine

    Examples
    --------
    ::

        classifier = load_classifier("dsa_image_properties")
        result = classifier.classify(minip)          # (H, W), contrast dark
        result.label("projection").predicted         # 'lateral'
        result.cams["projection"]["lateral"]         # (h, w) float32, logit units
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self._engine = engine
        self.finder = None if bundle.finder is None else DeviceFinder(bundle.folder, bundle.finder)
        _check_on_phantom(bundle, engine)

    @property
    def name(self) -> str:
        return self.bundle.name

    @property
    def version(self) -> str:
        return self.bundle.version

    @property
    def sha256(self) -> str:
        return self.bundle.sha256

    @property
    def engine(self) -> str:
        return self._engine.name

    @property
    def device(self) -> str:
        return self._engine.device

    def classify(
        self,
        minip: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        subtracted: npt.NDArray[Any] | None = None,
        brightest: npt.NDArray[Any] | None = None,
        evidence: npt.NDArray[np.floating] | None = None,
        subtraction_state: str = "unknown",
        cam_method: str = "gradcam",
        contrast: str = "dark",
    ) -> Classification:
        """Label the MinIP of one run, or both of them.

        Parameters
        ----------
        minip : (H, W) ndarray
            Any integer or float type; contrast dark unless ``contrast`` says otherwise.
        valid_region : (H, W) bool ndarray, optional
            True inside the collimator.
        subtracted : (H, W) ndarray, optional
            MinIP of the run subtracted here; labels are read off it as the bundle says.
        brightest : (H, W) ndarray, optional
            Largest stored value over time, the first frame left out; labels of an unsubtracted run are read off it as
            the bundle says, unless it shows nothing, as where the detector saturates everywhere.
        evidence : (28,) float ndarray, optional
            What the run's frames tell, see :func:`~ClaireDSALib.dsa.frame_evidence.frame_evidence`; weighed in where
            the bundle can.
        subtraction_state : {"subtracted", "unsubtracted", "unknown"}
            How the run is stored. Labels that its pictures cannot show are not answered; with "unknown" all are.
        cam_method : {"gradcam", "gradcam++", "none"}
        contrast : {"dark", "bright"}

        Returns
        -------
        Classification

        Raises
        ------
        ImageRefusedError
            For a picture that cannot be a MinIP.
        ValueError
            For an unknown method.
        """
        if cam_method not in (*CAM_METHODS, "none"):
            msg = f"cam_method must be one of {(*CAM_METHODS, 'none')}; got {cam_method!r}"
            raise ValueError(msg)
        how = _Look(valid_region, cam_method, contrast)
        found = self._by_pictures(minip, subtracted, brightest, subtraction_state, how)
        if evidence is None or self.bundle.frames is None:
            return found
        return read_off_frames(found, self.bundle.frames, evidence, subtraction_state == "subtracted")

    def _by_pictures(
        self,
        minip: npt.NDArray[Any],
        subtracted: npt.NDArray[Any] | None,
        brightest: npt.NDArray[Any] | None,
        subtraction_state: str,
        how: _Look,
    ) -> Classification:
        choice = self.bundle.pictures
        stored = self._classify_one(minip, how)
        if subtraction_state == "subtracted":
            return without_answers(stored, choice.hidden)
        if subtraction_state == "unknown":
            return stored
        if brightest is not None and choice.brightest and is_picture(brightest):
            sizes = {reading.size_px for reading in choice.brightest.values()}
            found = {size: self._classify_one(brightest, how, size) for size in sizes}
            stored = read_off_brightest(stored, found, choice)
            if self.finder is not None:
                stored = read_off_devices(
                    stored, self.finder, brightest if how.contrast == "dark" else -1.0 * brightest
                )
        if not choice.subtracted:
            return stored
        if subtracted is None:
            return without_answers(stored, choice.unanswerable)
        return merged(stored, self._classify_one(subtracted, how), choice)

    def _classify_one(self, minip: npt.NDArray[Any], how: _Look, size_px: int | None = None) -> Classification:
        start = time.perf_counter()
        spec = self.bundle.input_spec if size_px is None else replace(self.bundle.input_spec, size_px=size_px)
        image = prepare(minip, spec, valid_region=how.valid_region, contrast=how.contrast)
        prepared = time.perf_counter()
        outputs = self._engine.run(image[None])
        timings = {"prepare": round(prepared - start, 4), "network": round(time.perf_counter() - prepared, 4)}
        return self._classification(outputs, how.cam_method, timings)

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities ``(B, K)`` of prepared pictures ``(B, C, S, S)``, for evaluation and faithfulness curves."""
        return self._engine.run(images).probabilities

    def run_prepared(self, images: npt.NDArray[np.float32]) -> EngineOutputs:
        """All outputs of prepared pictures ``(B, C, S, S)``, for evaluation."""
        return self._engine.run(images)

    def _classification(self, outputs: EngineOutputs, cam_method: str, timings: dict[str, float]) -> Classification:
        probabilities = outputs.probabilities[0].astype(np.float64)
        cam = outputs.cam_plus_plus[0] if cam_method == "gradcam++" else outputs.cam[0]
        labels, cams = [], {}
        for label in self.bundle.labels.labels:
            place = self.bundle.labels.slice_of(label.name)
            values = probabilities[place] / probabilities[place].sum()
            labels.append(LabelProbabilities(label.name, label.classes, tuple(float(v) for v in values)))
            if cam_method != "none":
                cams[label.name] = dict(zip(label.classes, cam[place], strict=True))
        return Classification(
            labels=tuple(labels),
            cams=cams,
            out_of_distribution=self._outlier(float(outputs.outlier_score[0])),
            engine=self.engine,
            device=self.device,
            bundle=self.name,
            version=self.version,
            sha256=self.sha256,
            cam_method=cam_method,
            timings_s=timings,
        )

    def _outlier(self, score: float) -> OutOfDistributionScore | None:
        threshold = self.bundle.outlier_threshold
        if threshold is None or not np.isfinite(score):
            return None
        text = "looks like a cerebral angiogram"
        if score > threshold:
            text = "not a cerebral angiogram as far as this model knows; its labels should not be trusted"
        return OutOfDistributionScore(score, threshold, text)


@dataclass(frozen=True)
class _Look:
    """How every picture of a run is looked at."""

    valid_region: npt.NDArray[np.bool_] | None
    cam_method: str
    contrast: str


def load_classifier(
    bundle: str | Path, device: str = "auto", engine: str = "auto", *, confirmed: bool = False
) -> Classifier:
    """Load a bundle by its name in the catalogue or by its folder.

    Parameters
    ----------
    bundle : str or Path
    device : {"auto", "cpu", "cuda"}
    engine : {"auto", "onnxruntime", "torch"}
    confirmed : bool
        The caller vouches for a bundle whose hash the catalogue does not have.

    Raises
    ------
    KeyError
        When the name is not in the catalogue and no folder has it.
    UnconfirmedBundleError
        When a folder's hash is not in the catalogue and ``confirmed`` is False.
    BundleError
        When files were changed since they were catalogued, or the bundle is wrong in itself.
    """
    opened = load_known(bundle, open_bundle, confirmed=confirmed)
    return Classifier(opened, make_engine(opened, device=device, engine=engine))


def _check_on_phantom(bundle: Bundle, engine: Engine) -> None:
    """Run the network once and hold its outputs against the metadata; warms the engine up as well."""
    size = bundle.input_spec.size_px
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size
    phantom = (0.5 + 0.5 * np.sin(20 * rows) * np.cos(13 * columns)).astype(np.float32)
    stack = np.repeat(phantom[None], len(bundle.input_spec.views), axis=0)
    probabilities = engine.run(stack[None]).probabilities
    if probabilities.shape != (1, bundle.labels.n_outputs):
        msg = (
            f"bundle {bundle.name!r}: the network has {probabilities.shape[-1]} outputs but the metadata lists "
            f"{bundle.labels.n_outputs} classes"
        )
        raise BundleError(msg)
    if not np.isfinite(probabilities).all():
        msg = f"bundle {bundle.name!r}: the network's output is not finite; its weights are damaged (NaN)"
        raise BundleError(msg)
    sums = [float(probabilities[0, bundle.labels.slice_of(name)].sum()) for name in bundle.labels.names]
    if not np.allclose(sums, 1, atol=1e-3):
        msg = f"bundle {bundle.name!r}: probabilities must sum to one per label; got {np.round(sums, 3).tolist()}"
        raise BundleError(msg)
