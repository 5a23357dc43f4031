"""Class-activation maps: closed form for pooled linear heads, and faithfulness of any map.

For a network that averages its last activations ``A_k`` over positions and applies linear heads,
``logit_c = sum_k w_ck mean(A_k) + b_c``. The gradient of the logit with respect to ``A_k`` is the constant
``w_ck / (h w)``, so Grad-CAM (Selvaraju et al., ICCV 2017, eq. 1-2) is ``sum_k w_ck A_k / (h w)``: no backward pass.
Here the factor ``1 / (h w)`` is left out, so that the mean of a map plus the bias is the logit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
CAM_METHODS = ("gradcam", "gradcam++")


def gradcam(activations: FloatArray, weights: FloatArray) -> FloatArray:
    """Grad-CAM of a pooled linear head before its ReLU.

    Parameters
    ----------
    activations : (C, h, w) float32 ndarray
        Last activations, at least zero.
    weights : (K, C) float32 ndarray
        Weights of the linear head.

    Returns
    -------
    (K, h, w) float32 ndarray
        Logit units: the mean over positions plus the bias is the logit.
    """
    return np.einsum("kc,chw->khw", weights, activations).astype(np.float32)


def gradcam_plus_plus(activations: FloatArray, weights: FloatArray) -> FloatArray:
    """Grad-CAM++ of a pooled linear head (Chattopadhay et al., WACV 2018, eq. 11-19).

    With the gradient ``g_k = w_k / (h w)`` the same at every position, the coefficient
    ``alpha_k = g_k^2 / (2 g_k^2 + g_k^3 sum(A_k))`` is too, and the weight of channel k
    is ``h w alpha_k relu(g_k) = relu(w_k) / (2 + g_k sum(A_k)) = relu(w_k) / (2 + w_k mean(A_k))``.

    Parameters
    ----------
    activations : (C, h, w) float32 ndarray
    weights : (K, C) float32 ndarray

    Returns
    -------
    (K, h, w) float32 ndarray
    """
    positive = np.maximum(weights, 0)
    channel = positive / (2 + positive * activations.mean(axis=(1, 2)))
    return np.einsum("kc,chw->khw", channel, activations).astype(np.float32)


def upsample(cam: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Spread a coarse map ``(h, w)`` over the picture ``shape`` (bilinear), values unchanged in scale."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(cam, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)


def mass_inside(cam: FloatArray, cause: npt.NDArray[np.bool_]) -> float:
    """Share of a map's positive evidence that lies inside the true cause.

    Parameters
    ----------
    cam : (h, w) float32 ndarray
    cause : (H, W) bool ndarray

    Returns
    -------
    float
        0 to 1; NaN when the map has no positive evidence.
    """
    evidence = np.maximum(upsample(cam, cause.shape), 0)  # type: ignore[arg-type]
    total = float(evidence.sum())
    return float(evidence[cause].sum()) / total if total > 0 else float("nan")


def deletion_curve(
    image: FloatArray, cam: FloatArray, predict: Callable[[FloatArray], float], *, steps: int = 10, insert: bool = False
) -> tuple[FloatArray, float]:
    """Probability while the most important pixels are deleted (or inserted into a blurred picture).

    Parameters
    ----------
    image : (H, W) float32 ndarray
        The prepared picture.
    cam : (h, w) float32 ndarray
    predict : callable
        ``(H, W) image -> probability`` of the class the map explains.
    steps : int
    insert : bool
        Start from the blurred picture and insert instead.

    Returns
    -------
    curve : (steps + 1,) float32 ndarray
    area : float
        Area under the curve, 0 to 1. Low is faithful for deletion, high for insertion.

    Notes
    -----
    After Petsiuk et al., BMVC 2018; the deleted pixels take the value of a heavily blurred picture, so that no
    sharp edge is made.
    """
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(image, sigma=max(image.shape) / 16)
    order = np.argsort(-upsample(cam, image.shape).ravel(), kind="stable")  # type: ignore[arg-type]
    start, goal = (blurred, image) if insert else (image, blurred)
    current, values = start.copy().ravel(), []
    for step in range(steps + 1):
        chosen = order[: round(step / steps * order.size)]
        current[chosen] = goal.ravel()[chosen]
        values.append(predict(current.reshape(image.shape)))
    curve = np.asarray(values, np.float32)
    return curve, float(np.trapezoid(curve, dx=1 / steps))
