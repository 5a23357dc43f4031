"""Saving the scene and loading it back."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

if TYPE_CHECKING:
    from .host import Host

_EXTENSIONS = {
    "vtkMRMLSequenceNode": ".seq.nrrd",
    "vtkMRMLSegmentationNode": ".seg.nrrd",
    "vtkMRMLTableNode": ".tsv",
    "vtkMRMLColorTableNode": ".ctbl",
    "vtkMRMLTextNode": ".txt",
    "vtkMRMLMarkupsFiducialNode": ".mrk.json",
}
_MAX_UNPACKED_BYTES = 16 * 2**30
"""A scene bundle that unpacks to more than this is refused."""


def save_scene(host: Host, path: str | Path) -> Path:
    """Save the scene as ``.mrb`` (one file) or ``.mrml`` (data files beside it).

    Raises
    ------
    ValueError
        For another extension.
    OSError
        When a file cannot be written.
    """
    target = Path(path).resolve()
    if target.suffix not in (".mrb", ".mrml"):
        msg = f"a scene is saved as .mrb or .mrml; got {target.name}"
        raise ValueError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    url, root = host.scene.GetURL(), host.scene.GetRootDirectory()
    try:
        host.scene.SetURL(str(target))
        host.scene.SetRootDirectory(str(target.parent))
        done = host.scene.WriteToMRB(str(target)) if target.suffix == ".mrb" else _write_mrml(host.scene, target)
    finally:
        host.scene.SetURL(url or "")
        host.scene.SetRootDirectory(root or "")
    if not done:
        msg = f"the scene could not be written to {target}; is there space and the right to write?"
        raise OSError(msg)
    return target


def load_scene(host: Host, path: str | Path) -> None:
    """Add the content of a saved scene; call ``host.scene.Clear(False)`` first for a fresh one.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no scene.
    """
    source = Path(path).resolve()
    if not source.is_file():
        msg = f"no scene file at {source}"
        raise FileNotFoundError(msg)
    if source.suffix == ".mrb":
        with TemporaryDirectory(prefix="claire_dsa_") as folder:
            _import(host.scene, _unpack(source, Path(folder)))
        return
    _import(host.scene, source)


def _unpack(source: Path, folder: Path) -> Path:
    try:
        with ZipFile(source) as bundle:
            size = sum(item.file_size for item in bundle.infolist())
            if size > _MAX_UNPACKED_BYTES:
                msg = f"{source.name} unpacks to {size / 2**30:.0f} GiB; the limit is {_MAX_UNPACKED_BYTES >> 30} GiB"
                raise ValueError(msg)
            bundle.extractall(folder)  # zipfile strips drive letters, leading slashes and ".."
    except BadZipFile as error:
        msg = f"{source.name} is not a scene bundle: {error}"
        raise ValueError(msg) from error
    scenes = sorted(folder.rglob("*.mrml"))
    if not scenes:
        msg = f"{source.name} holds no .mrml scene"
        raise ValueError(msg)
    return scenes[0]


def _import(scene: Any, path: Path) -> None:
    url, root = scene.GetURL(), scene.GetRootDirectory()
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    try:
        if not scene.Import(None):
            msg = f"{path.name} could not be read as a scene"
            raise ValueError(msg)
    finally:
        scene.SetURL(url or "")
        scene.SetRootDirectory(root or "")


def _write_mrml(scene: Any, target: Path) -> bool:
    """Give every storable node a file first: ``Commit`` alone writes no data."""
    used: set[str] = set()
    count = scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")
    for node in [scene.GetNthNodeByClass(i, "vtkMRMLStorableNode") for i in range(count)]:
        if not node.GetSaveWithScene():
            continue
        if node.GetStorageNode() is None and not node.AddDefaultStorageNode():
            continue
        storage = node.GetStorageNode()
        if storage is None:
            continue
        storage.SetFileName(str(target.parent / _file_name(node, storage, used)))
        if not storage.WriteData(node):
            return False
    return bool(scene.Commit())


def _file_name(node: Any, storage: Any, used: set[str]) -> str:
    extension = _EXTENSIONS.get(node.GetClassName())
    if extension is None:
        extension = ".nrrd" if node.IsA("vtkMRMLVolumeNode") else f".{storage.GetDefaultWriteFileExtension()}"
    stem = re.sub(r"[^\w.-]+", "_", node.GetName() or node.GetID()).strip("._") or "node"
    name, number = stem + extension, 1
    while name.lower() in used:
        name, number = f"{stem}_{number}{extension}", number + 1
    used.add(name.lower())
    return name
