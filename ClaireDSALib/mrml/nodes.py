"""The nodes of a run, and how to find them again after a scene was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host import Host

RUN_ATTRIBUTE = "ClaireDSA.run_id"
ROLE_ATTRIBUTE = "ClaireDSA.role"
"""``sequence``, ``proxy``, ``volume:minip``, ``cam:motion_artefact:severe``, ``table:labels`` ..."""


@dataclass(frozen=True)
class SeriesNodes:
    """Nodes of one acquired run.

    ``browser`` is shared by the two runs of a biplane pair. ``proxy`` is the volume to put into a view.
    ``subtracted_sequence`` and ``subtracted_proxy`` are None until :func:`~ClaireDSALib.mrml.add_subtracted` made them.
    """

    run_id: str
    sequence: Any
    browser: Any
    proxy: Any
    subtracted_sequence: Any = None
    subtracted_proxy: Any = None

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """``(row, column)``, None when unknown."""
        if self.proxy.GetAttribute("ClaireDSA.spacing") == "unknown":
            return None
        column, row, _ = self.proxy.GetSpacing()
        return row, column

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)``."""
        columns, rows, _ = self.proxy.GetImageData().GetDimensions()
        return rows, columns


@dataclass(frozen=True)
class ResultNodes:
    """Nodes of the results of one run.

    Parameters
    ----------
    volumes : mapping of str to volume node
        By array name: ``minip``, ``subtracted_minip``, ``time_to_peak``, ``thrombus_heat`` ...
    cams : mapping of (label, class) to scalar volume node
        Raw class-activation maps in logit units, on their coarse grid.
    overlay : vtkMRMLVectorVolumeNode
        RGBA foreground with soft alpha; filled by ``set_active_cam`` and ``set_overlay``.
    segmentation : vtkMRMLSegmentationNode or None
        Segments ``vessels``, ``centerline``, ``arteries``, ``veins`` as far as found.
    tables, charts : mapping of str to node
        ``labels``, ``reasons``, ``measurements``, ``curve``, ``phases``, ``motion_shifts`` as far as present.
    site : vtkMRMLMarkupsFiducialNode or None
        Thrombus site.
    report : vtkMRMLTextNode
        The run's report as JSON.
    """

    run_id: str
    volumes: Mapping[str, Any]
    overlay: Any
    report: Any
    cams: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    segmentation: Any = None
    tables: Mapping[str, Any] = field(default_factory=dict)
    charts: Mapping[str, Any] = field(default_factory=dict)
    site: Any = None

    @property
    def projection(self) -> Any:
        """The picture to show beside the sequence: subtracted MinIP when present, else the MinIP."""
        return self.volumes.get("subtracted_minip", self.volumes.get("minip"))


def tag(node: Any, run_id: str, role: str) -> Any:
    """Mark a node so that :func:`find_nodes` finds it in a loaded scene."""
    node.SetAttribute(RUN_ATTRIBUTE, run_id)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    return node


def remove_node(scene: Any, node: Any) -> None:
    """Remove a node with the display and storage nodes that only serve it."""
    followers = []
    if node.IsA("vtkMRMLDisplayableNode"):
        followers += [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        followers += [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    for follower in [*followers, node]:
        if follower is not None and follower.GetScene() is not None:
            scene.RemoveNode(follower)


def run_ids(host: Host) -> list[str]:
    """Runs of the scene in the order they were added."""
    return list(dict.fromkeys(n.GetAttribute(RUN_ATTRIBUTE) for n in _tagged(host.scene)))


def tagged_nodes(host: Host, run_id: str) -> dict[str, Any]:
    """Role -> node of one run."""
    return {n.GetAttribute(ROLE_ATTRIBUTE): n for n in _tagged(host.scene) if n.GetAttribute(RUN_ATTRIBUTE) == run_id}


def find_nodes(host: Host, run_id: str) -> tuple[SeriesNodes | None, ResultNodes | None]:
    """Nodes of a run in the scene, for example after loading it.

    Returns
    -------
    SeriesNodes or None, ResultNodes or None
        None for what the scene does not hold.
    """
    roles = tagged_nodes(host, run_id)
    return _series_nodes(host, run_id, roles), _result_nodes(run_id, roles)


def _tagged(scene: Any) -> list[Any]:
    found = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    return [n for n in found if n.GetAttribute(RUN_ATTRIBUTE) and n.GetAttribute(ROLE_ATTRIBUTE)]


def _series_nodes(host: Host, run_id: str, roles: Mapping[str, Any]) -> SeriesNodes | None:
    sequence = roles.get("sequence")
    if sequence is None:
        return None
    browser = host.logic("sequences").GetFirstBrowserNodeForSequenceNode(sequence)
    subtracted = roles.get("subtracted_sequence")
    return SeriesNodes(
        run_id=run_id,
        sequence=sequence,
        browser=browser,
        proxy=browser.GetProxyNode(sequence),
        subtracted_sequence=subtracted,
        subtracted_proxy=browser.GetProxyNode(subtracted) if subtracted is not None else None,
    )


def _result_nodes(run_id: str, roles: Mapping[str, Any]) -> ResultNodes | None:
    if "report" not in roles:
        return None
    return ResultNodes(
        run_id=run_id,
        volumes=_by_prefix(roles, "volume:"),
        overlay=roles.get("overlay"),
        report=roles["report"],
        cams={tuple(k.split(":", 1)): v for k, v in _by_prefix(roles, "cam:").items()},  # type: ignore[misc]
        segmentation=roles.get("segmentation"),
        tables=_by_prefix(roles, "table:"),
        charts=_by_prefix(roles, "chart:"),
        site=roles.get("site"),
    )


def _by_prefix(roles: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {role.removeprefix(prefix): node for role, node in roles.items() if role.startswith(prefix)}
