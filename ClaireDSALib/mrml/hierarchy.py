"""Subject hierarchy: patient, study, series; pseudonymous."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import slicer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ClaireDSALib.dsa.series import DsaSeries

    from .host import Host
    from .nodes import SeriesNodes

_UID_NAME = "ClaireDSA"
_SHORT = 8
"""Characters of a hash that are shown."""


def place_series(host: Host, series: DsaSeries, nodes: SeriesNodes) -> None:
    """Make the folder of a run under its patient and study and put its nodes there."""
    from .sequences import series_title

    tree = _tree(host.scene)
    patient = _item(tree, f"patient:{series.identity.patient_key}")
    if not patient:
        name = f"Patient {_short(series.identity.patient_key)}"
        patient = _named(
            tree, tree.CreateSubjectItem(tree.GetSceneItemID(), name), "patient", series.identity.patient_key
        )
    study = _item(tree, f"study:{series.identity.study_uid}")
    if not study:
        study = tree.CreateStudyItem(patient, f"Study {_short(series.identity.study_uid)}")
        _named(tree, study, "study", series.identity.study_uid)
    if not _item(tree, f"run:{series.run_id}"):
        _named(tree, tree.CreateFolderItem(study, series_title(series)), "run", series.run_id)
    place(host, series.run_id, [nodes.sequence, nodes.browser, nodes.proxy])


def place(host: Host, run_id: str, nodes: Iterable[Any]) -> None:
    """Put nodes into the folder of a run; without such a folder they stay where they are."""
    tree = _tree(host.scene)
    folder = _item(tree, f"run:{run_id}")
    if not folder:
        return
    for node in nodes:
        # The desktop's plugin handler has made the item already; slicer-core has none.
        if item := tree.GetItemByDataNode(node):
            tree.SetItemParent(item, folder)
        else:
            tree.CreateItem(folder, node)


def remove_run(host: Host, run_id: str) -> None:
    """Remove the folder of a run; the nodes in it stay."""
    tree = _tree(host.scene)
    if folder := _item(tree, f"run:{run_id}"):
        tree.RemoveItem(folder, False, False)


def _tree(scene: Any) -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _item(tree: Any, uid: str) -> int:
    return tree.GetItemByUID(_UID_NAME, _digest(uid))


def _named(tree: Any, item: int, kind: str, key: str) -> int:
    tree.SetItemUID(item, _UID_NAME, _digest(f"{kind}:{key}"))
    return item


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _short(key: str) -> str:
    return _digest(key)[:_SHORT] if key else "unknown"
