"""Reads whole-brain arterial trees of the BraVa collection (SWC) and finds their anatomy.

The files (Wright et al., NeuroImage 2013, DOI 10.1016/j.neuroimage.2013.05.089) join everything in one tree through
the circle of Willis. Types: 0 carotid, basilar and communicating arteries; 2 and 5 anterior, 3 and 4 middle, 6 and 7
posterior cerebral arteries. Their axes are not documented. Measured on all 39 trees: file y grows upwards (the circle
of Willis lies near -97, the vertex near -6), file z grows backwards (anterior arteries average 67, posterior ones 139),
and x grows across the head with types 2, 3, 6 on the high side; which side is the patient's left is taken from
``HIGH_X_IS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

HIGH_X_IS = 1
"""1: high x is the patient's left. Not settled by the data (docs/simulator_anatomy.md); variants are mirrored at random
anyway."""

_CAROTID_END_MM = np.array([0.0, -12.0, -19.5])
"""Where the middle between the two ends of the carotids lies in the head frame."""

_ROOT_RADIUS_MM = 0.75
_SAME_POINT_MM = 0.05
_RING_TYPE = 0
_ACA, _MCA, _PCA = {1: 2, -1: 5}, {1: 3, -1: 4}, {1: 6, -1: 7}
"""Types by side of x (1 high)."""


@dataclass(frozen=True)
class SwcTree:
    """A tree in the head frame, cut open at the circle of Willis into three rooted parts.

    ``parent`` is -1 for the three roots: the two carotids and the basilar artery. ``segment`` holds names and ``side``
    1 left, -1 right, 0 midline. ``fetal`` tells on which sides the posterior cerebral artery hangs on the carotid.
    """

    name: str
    position_mm: npt.NDArray[np.float64]
    radius_mm: npt.NDArray[np.float64]
    parent: npt.NDArray[np.intp]
    segment: npt.NDArray[np.str_]
    side: npt.NDArray[np.intp]
    carotid_root: dict[int, int]
    basilar_root: int
    terminus: dict[int, int]
    joint: dict[int, int]
    """Where the posterior communicating artery and P1 meet and P2 goes on."""
    other_supply: dict[int, int]
    """Cut end of the artery that does not feed P2: posterior communicating, or P1 where ``fetal``."""
    fetal: dict[int, bool]


def swc_files(folder: Path) -> list[Path]:
    """Whole-brain trees in a folder, sorted by name.

    Raises
    ------
    FileNotFoundError
        When there are none.
    """
    found = sorted(path for path in Path(folder).glob("*.swc") if "siphon" not in path.name)
    if not found:
        msg = f"no SWC file of an arterial tree in {folder}; give the folder with the BraVa trees or leave it out"
        raise FileNotFoundError(msg)
    return found


@lru_cache(maxsize=64)
def read_swc(path: Path) -> SwcTree:
    """Read one tree and name its parts.

    Raises
    ------
    ValueError
        When the file is not a tree with two carotids and a basilar artery.
    """
    table = np.loadtxt(path, comments="#", ndmin=2)
    if table.shape[1] != 7:
        msg = f"{path.name}: an SWC row has 7 columns (id type x y z radius parent); got {table.shape[1]}"
        raise ValueError(msg)
    kind, place, radius = table[:, 1].astype(int), table[:, 2:5], table[:, 5]
    row = {int(identity): index for index, identity in enumerate(table[:, 0])}
    parent = np.array([row.get(int(p), -1) for p in table[:, 6]], np.intp)
    return _Dissection(path, *_without_repeats(kind, place, radius, parent)).result()


def _without_repeats(
    kind: npt.NDArray[np.intp],
    place: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    parent: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Merge every point with its parent when they coincide: branches repeat the point they start from."""
    stands_for = np.arange(len(parent))
    for node, p in enumerate(parent):
        if p >= 0 and np.linalg.norm(place[node] - place[p]) < _SAME_POINT_MM:
            stands_for[node] = stands_for[p]
    kept = np.flatnonzero(stands_for == np.arange(len(parent)))
    number = np.full(len(parent), -1)
    number[kept] = np.arange(len(kept))
    above = np.where(parent[kept] >= 0, number[stands_for[parent[kept]]], -1)
    return kind[kept], place[kept], radius[kept], above


class _Dissection:
    """Finds roots, carotid ends and the ring, cuts the ring open and turns every part away from its root."""

    def __init__(
        self,
        path: Path,
        kind: npt.NDArray[np.intp],
        place: npt.NDArray[np.float64],
        radius: npt.NDArray[np.float64],
        parent: npt.NDArray[np.intp],
    ) -> None:
        self._name = path.stem.replace("records", "")
        self._kind, self._radius = kind, radius
        self._middle_x = 0.5 * (np.median(place[kind == 3, 0]) + np.median(place[kind == 4, 0]))
        head = np.column_stack([HIGH_X_IS * (place[:, 0] - self._middle_x), place[:, 2], place[:, 1]])
        self._head = head
        self._neighbours: list[list[int]] = [[] for _ in kind]
        for node, p in enumerate(parent):
            if p >= 0:
                self._neighbours[node].append(int(p))
                self._neighbours[int(p)].append(node)

    def result(self) -> SwcTree:
        carotid, basilar = self._roots()
        terminus, origin, attach = {}, {}, {}
        for side in (1, -1):
            to_mca = self._way(carotid[side], self._far(_MCA, side))
            to_aca = self._way(carotid[side], self._far(_ACA, side))
            terminus[side] = _last_common(to_mca, to_aca)
            ring = self._way(carotid[side], basilar)
            if terminus[side] in ring:
                msg = f"{self._name}: no posterior communicating artery joins this carotid with the basilar artery"
                raise ValueError(msg)
            origin[side] = _last_common(ring, to_mca)
            attach[side] = _last_common(self._way(basilar, self._far(_PCA, side)), ring[::-1])
        shift = _CAROTID_END_MM - 0.5 * (self._head[terminus[1]] + self._head[terminus[-1]])
        self._head = self._head + shift
        fetal, other = {}, {}
        for side in (1, -1):
            fetal[side], other[side] = self._cut_ring(carotid[side], basilar, origin[side], attach[side])
        return self._rooted(carotid, basilar, terminus, attach, other, fetal)

    def _roots(self) -> tuple[dict[int, int], int]:
        wide = self._radius > _ROOT_RADIUS_MM
        ends = [
            i for i, near in enumerate(self._neighbours) if self._kind[i] == _RING_TYPE and len(near) == 1 and wide[i]
        ]
        ends = [i for i in ends if self._head[i, 2] < np.quantile(self._head[:, 2], 0.2)]
        if len(ends) < 3:
            msg = f"{self._name}: two carotids and a basilar artery are needed; found {len(ends)} wide open ends"
            raise ValueError(msg)
        x = self._head[ends, 0]
        basilar = ends[int(np.argmin(np.abs(x)))]
        return {1: ends[int(np.argmax(x))], -1: ends[int(np.argmin(x))]}, basilar

    def _far(self, types: dict[int, int], side: int) -> int:
        """A node well inside the territory of one artery: the middle one by distance from the midline plane."""
        chosen = np.flatnonzero((self._kind == types[side * HIGH_X_IS]) & (self._head[:, 0] * side > 0))
        centre = self._head[chosen].mean(0)
        ends = [i for i in chosen if len(self._neighbours[i]) == 1]
        return int(min(ends, key=lambda i: float(((self._head[i] - centre) ** 2).sum())))

    def _way(self, start: int, goal: int) -> list[int]:
        before = {start: -1}
        stack = [start]
        while stack:
            node = stack.pop()
            if node == goal:
                break
            for near in self._neighbours[node]:
                if near not in before:
                    before[near] = node
                    stack.append(near)
        way = [goal]
        while before[way[-1]] >= 0:
            way.append(before[way[-1]])
        return way[::-1]

    def _cut_ring(self, carotid: int, basilar: int, origin: int, attach: int) -> tuple[bool, int]:
        """Leave the posterior cerebral artery on its wider supply: (is that the carotid?, cut end of the other)."""
        ring = self._way(carotid, basilar)
        communicating = ring[ring.index(origin) : ring.index(attach) + 1]
        first_part = ring[ring.index(attach) :]
        top = [i for i in first_part if abs(self._head[i, 0]) > 2.5] or first_part[:2]
        # One node: the artery leaves the ring where the communicating artery leaves the carotid.
        fetal = len(communicating) < 2 or bool(
            np.median(self._radius[communicating]) > 1.25 * np.median(self._radius[top])
        )
        cut = (first_part[0], first_part[1]) if fetal else (communicating[-2], communicating[-1])
        self._neighbours[cut[0]].remove(cut[1])
        self._neighbours[cut[1]].remove(cut[0])
        return fetal, cut[1] if fetal else cut[0]

    def _rooted(
        self,
        carotid: dict[int, int],
        basilar: int,
        terminus: dict[int, int],
        attach: dict[int, int],
        other: dict[int, int],
        fetal: dict[int, bool],
    ) -> SwcTree:
        order, parent = self._turn([carotid[1], carotid[-1], basilar])
        number = {old: new for new, old in enumerate(order)}
        old = np.array(order)
        position, radius, kind = self._head[old], self._radius[old].copy(), self._kind[old]
        ends = {side: number[terminus[side]] for side in (1, -1)}
        roots = {side: number[carotid[side]] for side in (1, -1)}
        joints = {side: number[attach[side]] for side in (1, -1)}
        others = {side: number[other[side]] for side in (1, -1)}
        segment, side = _name_parts(position, parent, kind, roots, number[basilar], ends, joints, fetal)
        for s in (1, -1):
            segment[_stub(parent, segment, others[s])] = "P1" if fetal[s] else "PCOM"
        return SwcTree(
            name=self._name,
            position_mm=position,
            radius_mm=radius,
            parent=parent,
            segment=segment,
            side=side,
            carotid_root=roots,
            basilar_root=number[basilar],
            terminus=ends,
            joint=joints,
            other_supply=others,
            fetal=fetal,
        )

    def _turn(self, roots: list[int]) -> tuple[list[int], npt.NDArray[np.intp]]:
        """Breadth first from the roots: old numbers in the new order, and the new parents."""
        order: list[int] = []
        parent: list[int] = []
        queue = [(root, -1) for root in roots]
        seen = set(roots)
        for node, above in queue:  # the list grows while it is walked: breadth first
            here = len(order)
            order.append(node)
            parent.append(above)
            for near in self._neighbours[node]:
                if near not in seen:
                    seen.add(near)
                    queue.append((near, here))
        return order, np.array(parent, np.intp)


def _last_common(a: list[int], b: list[int]) -> int:
    last = a[0]
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        last = x
    return last


def _name_parts(
    position: npt.NDArray[np.float64],
    parent: npt.NDArray[np.intp],
    kind: npt.NDArray[np.intp],
    carotid: dict[int, int],
    basilar: int,
    terminus: dict[int, int],
    attach: dict[int, int],
    fetal: dict[int, bool],
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.intp]]:
    """Segment names and sides, from the root outwards."""
    n = len(parent)
    children: list[list[int]] = [[] for _ in range(n)]
    length = np.zeros(n)
    for node in range(n - 1, -1, -1):
        p = parent[node]
        if p >= 0:
            children[p].append(node)
            length[p] += length[node] + np.linalg.norm(position[node] - position[p])
    segment = np.full(n, "", "<U10")
    side = np.zeros(n, np.intp)
    for s in (1, -1):
        trunk = _path(parent, terminus[s])
        segment[trunk] = "ICA"
        _name_carotid(s, trunk, position, children, length, kind, segment)
        side[_below(children, carotid[s])] = s
    stem = _basilar_trunk(parent, attach, fetal, basilar, position)
    segment[stem] = "BA"
    for s in (1, -1):
        _name_posterior(s, attach[s], fetal[s], position, parent, children, kind, segment)
        side[_below(children, attach[s])] = s
    rest = np.flatnonzero(segment == "")
    for node in rest:  # side branches of the basilar artery and the ring
        y, z = position[node, 1:]
        segment[node] = "SCA" if y > 6 and z < -15 else "PONTINE"
        side[node] = int(np.sign(position[node, 0]))
    return segment, side


def _name_carotid(
    side: int,
    trunk: list[int],
    position: npt.NDArray[np.float64],
    children: list[list[int]],
    length: npt.NDArray[np.float64],
    kind: npt.NDArray[np.intp],
    segment: npt.NDArray[np.str_],
) -> None:
    aca = _ACA[side * HIGH_X_IS]
    on_trunk = set(trunk)
    branches = children[trunk[-1]]
    share = {b: float(np.mean(kind[_below(children, b)] == aca)) for b in branches}
    anterior = max(branches, key=lambda b: share[b])
    for branch in branches:
        if branch == anterior:
            _name_anterior(branch, position, children, segment)
        else:
            _name_middle(branch, position, children, length, segment)
    for node in trunk[:-1]:
        for branch in children[node]:
            if branch not in on_trunk:
                inside = _below(children, branch)
                posterior = np.mean(kind[inside] == _PCA[side * HIGH_X_IS]) > 0.3
                segment[inside] = "PCOM" if posterior else "ACHA"


def _name_anterior(
    start: int, position: npt.NDArray[np.float64], children: list[list[int]], segment: npt.NDArray[np.str_]
) -> None:
    """A1 to the midline, A2 for 45 mm, A3 beyond."""
    stack = [(start, "A1", 0.0)]
    while stack:
        node, name, way = stack.pop()
        if name == "A1" and abs(position[node, 0]) < _A1_END_X_MM:
            name = "A2"
        elif name == "A2" and way > _A2_LENGTH_MM:
            name = "A3"
        segment[node] = name
        for child in children[node]:
            step = float(np.linalg.norm(position[child] - position[node])) if name != "A1" else 0.0
            stack.append((child, name, way + step))


_A1_END_X_MM = 4.5
_A2_LENGTH_MM = 45.0
_P1_LENGTH_MM = 7.0
_P2_LENGTH_MM = 36.0
_BASILAR_HALF_WIDTH_MM = 6.0
_M1_MAIN_SHARE = 0.25
_M3_X_MM = 45.0
_M4_DEPTH = 0.93


def _name_middle(
    start: int,
    position: npt.NDArray[np.float64],
    children: list[list[int]],
    length: npt.NDArray[np.float64],
    segment: npt.NDArray[np.str_],
) -> None:
    """M1 to the first division into two great branches, M2 on the insula, M3 lateral of it, M4 on the surface."""
    node, whole = start, length[start]
    while True:
        segment[node] = "M1"
        great = [c for c in children[node] if length[c] > _M1_MAIN_SHARE * whole]
        if len(great) != 1 or abs(position[node, 0]) > _M3_X_MM:
            break
        for child in children[node]:
            if child != great[0]:
                _name_insular(child, "M2T" if position[child, 2] < -18 else "M2S", position, children, segment)
        node = great[0]
    ends = {c: position[_below(children, c)][:, 2].mean() for c in children[node]}
    top = max(ends, key=lambda c: ends[c]) if ends else -1
    for child in children[node]:
        _name_insular(child, "M2S" if child == top else "M2I", position, children, segment)


def _name_insular(
    start: int, name: str, position: npt.NDArray[np.float64], children: list[list[int]], segment: npt.NDArray[np.str_]
) -> None:
    from .procedural.brain_shape import depth_factor

    depth = depth_factor(position)
    stack = [(start, name)]
    while stack:
        node, name = stack.pop()
        if name.startswith("M2") and (abs(position[node, 0]) > _M3_X_MM or depth[node] > _M4_DEPTH):
            name = "M3"
        if name == "M3" and depth[node] > _M4_DEPTH:
            name = "M4"
        segment[node] = name
        stack += [(child, name) for child in children[node]]


def _stub(parent: npt.NDArray[np.intp], segment: npt.NDArray[np.str_], end: int) -> list[int]:
    """The unbranched way from a cut end back to the carotid or basilar artery."""
    return [node for node in _path(parent, end)[::-1] if segment[node] not in ("ICA", "BA")]


def _basilar_trunk(
    parent: npt.NDArray[np.intp],
    attach: dict[int, int],
    fetal: dict[int, bool],
    basilar: int,
    position: npt.NDArray[np.float64],
) -> list[int]:
    """From the lower end to where the two posterior cerebral arteries part, or to where the only one turns away."""
    ways = [_path(parent, attach[s]) for s in (1, -1) if not fetal[s]]
    if len(ways) == 2:
        return ways[0][: ways[0].index(_last_common(*ways)) + 1]
    if len(ways) == 1:
        top = int(np.argmax(position[ways[0], 2]))
        return [node for node in ways[0][: top + 1] if abs(position[node, 0]) < _BASILAR_HALF_WIDTH_MM] or [basilar]
    return [basilar]


def _name_posterior(
    side: int,
    attach: int,
    fetal: bool,
    position: npt.NDArray[np.float64],
    parent: npt.NDArray[np.intp],
    children: list[list[int]],
    kind: npt.NDArray[np.intp],
    segment: npt.NDArray[np.str_],
) -> None:
    """P1 up to ``attach`` and at least 7 mm, P2 to 36 mm along each way, P3 beyond."""
    code = _PCA[side * HIGH_X_IS]
    way = 0.0
    for node in _path(parent, attach):
        if segment[node] == "":
            segment[node] = "PCOM" if fetal else "P1"
            way += float(np.linalg.norm(position[node] - position[parent[node]]))
    if fetal:
        way = _P1_LENGTH_MM
    stack = [(child, way) for child in children[attach] if np.mean(kind[_below(children, child)] == code) > 0.3]
    while stack:
        node, way = stack.pop()
        segment[node] = "P1" if way < _P1_LENGTH_MM else "P2" if way < _P2_LENGTH_MM else "P3"
        stack += [(c, way + float(np.linalg.norm(position[c] - position[node]))) for c in children[node]]


def _path(parent: npt.NDArray[np.intp], node: int) -> list[int]:
    way = [node]
    while parent[way[-1]] >= 0:
        way.append(int(parent[way[-1]]))
    return way[::-1]


def _below(children: list[list[int]], node: int) -> list[int]:
    found = [node]
    for item in found:  # grows while it is walked
        found.extend(children[item])
    return found
