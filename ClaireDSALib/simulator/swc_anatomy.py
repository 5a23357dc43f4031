"""A patient around a real arterial tree: neck, siphon, cerebellum, fine branches and veins are procedural."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .procedural.anatomy import JoinRow, Plan, draw_scale, random_streams
from .procedural.anterior import add_lenticulostriates
from .procedural.arch import add_arch
from .procedural.brain_shape import BRAIN_CENTRE_MM, BRAIN_RADII_MM, depth_factor, on_brain, spread_out, surface_points
from .procedural.builder import TreeBuilder
from .procedural.cerebral_veins import venous_tree
from .procedural.curves import WanderField, spline, unit
from .procedural.external_carotid import add_external_carotid
from .procedural.groin import groin_tree
from .procedural.growth import GrowthRule, add_twigs, grow
from .procedural.internal_carotid import add_choroidal, add_ophthalmic, cervical_course, siphon_course
from .procedural.posterior import add_cerebellar, add_vertebral, grow_cerebellum
from .procedural.traits import Traits, draw_traits
from .swc import SwcTree, read_swc, swc_files

_FLOOR_RADIUS_MM = 0.42
_FLOOR_EXPONENT = 2.0
"""MR angiography with 0.3 mm voxels cannot show less than 0.3 mm: radii below 0.42 mm are stretched downwards."""

_INSULAR = ("M2S", "M2I", "M3")
_INSULAR_GAIN = 1.25
"""One mean radius per piece understates the wide beginnings of M2 (2 mm across, Gibo 1981)."""

_WARP_MM = 1.3
_GAP_MM = 6.5
"""Cortex further than this from any artery of the file gets procedural branches."""

_STEM_SPACING_MM = 9.0
_CORTICAL = {
    "M4": "M4",
    "M3": "M4",
    "M2S": "M4",
    "M2I": "M4",
    "M2T": "M4",
    "A3": "A3",
    "A2": "A3",
    "P3": "P3",
    "P2": "P3",
}


def swc_plan(folder: Path, seed: int) -> Plan:
    """Choose a tree by the seed, vary it and complete it to a patient.

    Half of the patients are mirrored; a smooth warp, a new head size and new calibres make variants of one tree
    differ, but all share its ``anatomy_id``.
    """
    files = swc_files(folder)
    streams = random_streams(seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5C]))
    tree = _varied(read_swc(files[int(rng.integers(len(files)))]), rng)
    scale = _fitted_scale(tree)
    tree = replace(tree, position_mm=tree.position_mm / scale)
    traits = _measured_traits(tree, draw_traits(streams["traits"]))
    builder = TreeBuilder()
    joins = _Completion(builder, tree, traits, streams).build()
    arteries = builder.finish(WanderField(streams["wander"], (16, 45)), WanderField(streams["wander"], (6, 14)))
    veins, torcula = venous_tree(streams["veins"])
    size = draw_scale(streams["scale"])
    return Plan(
        anatomy_id=f"swc-{tree.name}",
        source="swc",
        age_years=traits.age_years,
        arteries=arteries,
        veins=veins,
        groin=groin_tree(traits, streams["groin"]),
        joins=joins,
        torcula=torcula,
        scale=scale * (size / size.mean()) ** 0.5,
        brain_centre_mm=BRAIN_CENTRE_MM,
        brain_radii_mm=BRAIN_RADII_MM,
    )


def _varied(tree: SwcTree, rng: np.random.Generator) -> SwcTree:
    """Mirror, warp, smooth the voxel steps and restore small calibres."""
    position = tree.position_mm
    for _ in range(2):
        position = _smooth_once(position, tree.parent)
    position = position + _WARP_MM * WanderField(rng, (45, 110))(position)
    radius = tree.radius_mm
    for _ in range(4):
        radius = _smooth_once(radius[:, None], tree.parent)[:, 0]
    radius = np.where(
        radius < _FLOOR_RADIUS_MM, _FLOOR_RADIUS_MM * (radius / _FLOOR_RADIUS_MM) ** _FLOOR_EXPONENT, radius
    )
    radius = radius * np.where(np.isin(tree.segment, _INSULAR), _INSULAR_GAIN, 1.0) * float(np.exp(rng.normal(0, 0.06)))
    if rng.random() < 0.5:
        return replace(tree, position_mm=position, radius_mm=radius)
    return replace(
        tree,
        position_mm=position * (-1, 1, 1),
        radius_mm=radius,
        side=-tree.side,
        **{
            name: _swapped(getattr(tree, name))
            for name in ("carotid_root", "terminus", "joint", "other_supply", "fetal")
        },
    )


def _swapped(by_side: dict) -> dict:
    return {-side: value for side, value in by_side.items()}


def _smooth_once(values: npt.NDArray[np.float64], parent: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Average with the parent and the mean of the children; roots and ends stay."""
    child = np.flatnonzero(parent >= 0)
    total, count = np.zeros_like(values), np.zeros(len(values))
    np.add.at(total, parent[child], values[child])
    np.add.at(count, parent[child], 1)
    inner = (parent >= 0) & (count == 1)
    out = values.copy()
    out[inner] = 0.5 * values[inner] + 0.25 * (values[parent[inner]] + total[inner])
    return out


def _fitted_scale(tree: SwcTree) -> npt.NDArray[np.float64]:
    """Size of this brain over the average one, from the extent of its arteries."""
    low, high = np.quantile(tree.position_mm, (0.004, 0.996), axis=0)
    width = (high[0] - low[0]) / (2 * BRAIN_RADII_MM[0] * 0.985)
    length = (high[1] - low[1]) / (2 * BRAIN_RADII_MM[1] * 0.965)
    height = (high[2] + 19.5) / (BRAIN_CENTRE_MM[2] + BRAIN_RADII_MM[2] + 19.5) / 0.955
    return np.clip([width, length, height], 0.85, 1.15)


def _measured_traits(tree: SwcTree, traits: Traits) -> Traits:
    def radius(names: tuple[str, ...], side: int, default: float) -> float:
        chosen = np.isin(tree.segment, names) & (tree.side == side)
        return float(np.median(tree.radius_mm[chosen])) if chosen.any() else default

    return replace(
        traits,
        ica_mm={s: float(np.clip(radius(("ICA",), s, 2.1) * 1.12, 1.7, 2.7)) for s in (1, -1)},
        ba_mm=float(np.clip(radius(("BA",), 0, 1.5), 1.2, 1.9)),
        fetal_pca=tree.fetal,
    )


class _Completion:
    """Adds the real tree and everything it lacks to one builder."""

    def __init__(
        self, builder: TreeBuilder, tree: SwcTree, traits: Traits, streams: dict[str, np.random.Generator]
    ) -> None:
        self._builder = builder
        self._tree = tree
        self._traits = traits
        self._streams = streams
        self._node: dict[int, int] = {}
        self._children: list[list[int]] = [[] for _ in tree.parent]
        for node, parent in enumerate(tree.parent):
            if parent >= 0:
                self._children[parent].append(node)

    def build(self) -> tuple[JoinRow, ...]:
        builder, tree, traits, streams = self._builder, self._tree, self._traits, self._streams
        arch = add_arch(builder, traits, streams["neck"])
        for side in (1, -1):
            self._add_carotid(side, arch.bifurcation[side])
            add_external_carotid(builder, side, arch.bifurcation[side], traits, streams["external"])
        rng = streams["posterior"]
        vertebrals = {side: add_vertebral(builder, side, arch.vertebral[side], traits, rng) for side in (1, -1)}
        dominant = 1 if traits.va_mm[1] >= traits.va_mm[-1] else -1
        basilar = self._add_basilar(int(vertebrals[dominant][-1]))
        for side in (1, -1):
            stems = add_cerebellar(builder, basilar, vertebrals[side], side, traits, rng)
            grow_cerebellum(builder, stems, side, traits, rng)
        self._extend_ends()
        self._fill_gaps()
        joins: list[JoinRow] = [("VA_BA", int(basilar[0]), int(vertebrals[-dominant][-1]), -dominant)]
        for side in (1, -1):
            following = [c for c in self._children[tree.joint[side]] if tree.segment[c] in ("P1", "P2", "P3")]
            if following:
                joins.append(("PCOM", self._node[following[0]], self._node[tree.other_supply[side]], side))
        return (*joins, *self._anterior_joins())

    def _add_carotid(self, side: int, bifurcation: int) -> None:
        builder, tree, traits = self._builder, self._tree, self._traits
        rng = self._streams["carotid"]
        root = tree.carotid_root[side]
        start, radius = tree.position_mm[root], traits.ica_mm[side]
        neck = cervical_course(side, traits.tortuosity, rng)
        siphon = siphon_course(side, traits.tortuosity, rng)
        before = siphon[: int(np.argmin(np.linalg.norm(siphon - start, axis=1)))]
        before = before[np.linalg.norm(before - start, axis=1) > 7]
        cervical = builder.add_path(
            neck, (1.28 * radius, 1.12 * radius, 1.04 * radius, radius), "ICA_C1", side, bifurcation
        )
        last = float(self._calibre(np.array([root]))[0])
        joined = builder.add_path(
            np.vstack([before, start[None]]), (radius, 0.5 * (radius + last), last), "ICA", side, int(cervical[-1])
        )
        self._add_tree(root, int(joined[-1]))
        own = builder.nodes_of("ICA", side)
        add_ophthalmic(builder, own[own <= self._node[tree.terminus[side]]], side, rng)
        add_choroidal(builder, int(own[own <= self._node[tree.terminus[side]]][-4]), side, rng)
        m1 = builder.nodes_of("M1", side)
        if len(m1) > 6:
            add_lenticulostriates(builder, m1, side, rng)

    def _add_basilar(self, vertebral_end: int) -> npt.NDArray[np.intp]:
        tree, root = self._tree, self._tree.basilar_root
        end = tree.position_mm[root]
        start = self._builder.position(vertebral_end)
        bow = 0.5 * (start + end) + np.array([0, -1.0, 0])
        radius = self._traits.ba_mm
        lower = self._builder.add_path(
            [bow, end], (radius, 0.5 * (radius + tree.radius_mm[root]), tree.radius_mm[root]), "BA", 0, vertebral_end
        )
        self._add_tree(root, int(lower[-1]))
        return self._builder.nodes_of("BA", 0)

    def _add_tree(self, root: int, joined: int) -> None:
        """Append everything behind ``root``, which coincides with the builder's node ``joined``, vessel by vessel."""
        self._node[root] = joined
        stack = [(root, child) for child in self._children[root]]
        while stack:
            origin, first = stack.pop()
            chain = [first]
            while len(self._children[chain[-1]]) == 1 and self._same_part(chain[-1], self._children[chain[-1]][0]):
                chain.append(self._children[chain[-1]][0])
            self._add_chain(origin, chain)
            stack += [(chain[-1], child) for child in self._children[chain[-1]]]

    def _same_part(self, a: int, b: int) -> bool:
        return self._tree.segment[a] == self._tree.segment[b]

    def _calibre(self, nodes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Radii, with steps along the carotid levelled: the files give one mean radius per piece."""
        tree, radius = self._tree, self._tree.radius_mm[nodes]
        usual = np.array([self._traits.ica_mm.get(int(s), 2.1) for s in tree.side[nodes]])
        return np.where(tree.segment[nodes] == "ICA", np.clip(radius, 0.8 * usual, 1.02 * usual), radius)

    def _add_chain(self, origin: int, chain: list[int]) -> None:
        tree, builder = self._tree, self._builder
        control = np.vstack([builder.position(self._node[origin])[None], tree.position_mm[chain]])
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
        keep = np.concatenate([[True], np.diff(way) > 0.15])
        keep[-1] = True
        points = spline(control[keep], 1.0)[1:]
        along = np.cumsum(np.linalg.norm(np.diff(np.vstack([control[:1], points]), axis=0), axis=1))
        own = self._calibre(np.array(chain))
        first = min(builder.radius(self._node[origin]), 1.2 * own[0])
        radius = np.interp(along / max(along[-1], 1e-9), way / max(way[-1], 1e-9), np.concatenate([[first], own]))
        ids = builder.add_points(
            points, radius, str(tree.segment[chain[-1]]), int(tree.side[chain[-1]]), self._node[origin]
        )
        place = np.searchsorted(along / max(along[-1], 1e-9), way[1:] / max(way[-1], 1e-9) - 1e-6)
        for node, index in zip(chain, np.minimum(place, len(ids) - 1), strict=True):
            self._node[node] = int(ids[index])
        self._node[chain[-1]] = int(ids[-1])

    def _extend_ends(self) -> None:
        """Real ends stop where the scanner saw no more: let them branch on and fade, and add twigs."""
        tree, builder = self._tree, self._builder
        rng = np.random.default_rng(self._streams["wander"].integers(2**31))

        def surface(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return on_brain(points, np.clip(depth_factor(points), None, 0.995))

        for node, children in enumerate(self._children):
            segment = _CORTICAL.get(str(tree.segment[node]))
            if children or segment is None or node in tree.other_supply.values():
                continue
            here = tree.position_mm[node]
            back = node
            for _ in range(4):
                back = tree.parent[back] if tree.parent[back] >= 0 else back
            direction = unit(here - tree.position_mm[back])
            count = int(rng.integers(3, 9))
            reach = rng.uniform(5, 22, (count, 1))
            targets = surface(here + reach * direction + 0.45 * reach * rng.standard_normal((count, 3)))
            grow(
                builder,
                self._node[node],
                direction,
                targets,
                radius_mm=float(tree.radius_mm[node]),
                segment=segment,
                side=int(tree.side[node]),
                rng=rng,
                surface=surface,
                wander_mm=0.9,
                rule=GrowthRule(murray=2.6),
            )
        for segment, count in (("M4", 560), ("A3", 260), ("P3", 200)):
            for side in (1, -1):
                nodes = builder.nodes_of(segment, side)
                add_twigs(builder, nodes, count, segment=segment, side=side, rng=rng, surface=surface)

    def _fill_gaps(self) -> None:
        """Branches too slow or too thin for the scanner: grow them into bare cortex from the nearest vessel."""
        rng = np.random.default_rng(self._streams["wander"].integers(2**31))
        cloud = surface_points(rng, 16000)
        cloud = cloud[(cloud[:, 2] > -30) & (np.abs(cloud[:, 0]) > 2)]
        wall = np.column_stack([rng.choice([-4.0, 4.0], 6000), rng.uniform(-78, 82, 6000), rng.uniform(-18, 68, 6000)])
        wall = wall[(depth_factor(wall) < 0.98) & (depth_factor(wall) > 0.62)]
        for side in (1, -1):
            targets = np.vstack([c[c[:, 0] * side > 0] for c in (cloud, wall)])
            targets = spread_out(targets, int(430 * self._traits.density), rng)
            stems = {name: self._stems(name, side) for name in ("M3", "M4", "A3", "P3")}
            nodes = np.concatenate(list(stems.values()))
            segment = np.concatenate([[name] * len(ids) for name, ids in stems.items()])
            place = np.array([self._builder.position(int(n)) for n in nodes])
            distance, owner = cKDTree(place).query(targets)
            self._grow_into(
                targets[(distance > _GAP_MM) & (distance < 40)],
                owner[(distance > _GAP_MM) & (distance < 40)],
                nodes,
                segment,
                side,
                rng,
            )

    def _stems(self, name: str, side: int) -> npt.NDArray[np.intp]:
        """Nodes of one segment that may sprout: some millimetres apart and not too thin."""
        ids = self._builder.nodes_of(name, side)
        ids = ids[[self._builder.radius(int(n)) > 0.16 for n in ids]]
        return ids[:: int(_STEM_SPACING_MM)]

    def _grow_into(
        self,
        targets: npt.NDArray[np.float64],
        owner: npt.NDArray[np.intp],
        nodes: npt.NDArray[np.intp],
        segment: npt.NDArray[np.str_],
        side: int,
        rng: np.random.Generator,
    ) -> None:
        def surface(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return on_brain(points, np.clip(depth_factor(points), None, 0.99))

        builder = self._builder
        for index in np.unique(owner):
            own = targets[owner == index]
            node = int(nodes[index])
            radius = min(0.15 * len(own) ** (1 / 2.6) + 0.03, 0.85 * builder.radius(node))
            grow(
                builder,
                node,
                unit(own.mean(0) - builder.position(node)),
                own,
                radius_mm=radius,
                segment="M4" if segment[index] == "M3" else str(segment[index]),
                side=side,
                rng=rng,
                surface=surface,
                wander_mm=1.8 * self._traits.tortuosity,
                rule=GrowthRule(murray=2.6),
            )

    def _anterior_joins(self) -> list[JoinRow]:
        a2 = {s: self._first("A2", s) for s in (1, -1)}
        a1 = {s: self._last_a1(s) for s in (1, -1)}
        if any(node is None for node in (*a2.values(), *a1.values())):
            return []
        start, end = self._builder.position(a1[1]), self._builder.position(a1[-1])
        self._builder.add_points(np.linspace(start, end, 5)[1:], np.full(4, self._traits.acom_mm), "ACOM", 0, a1[1])
        return [("ACOM", a2[-1], a1[1], 1), ("ACOM", a2[1], a1[-1], -1)]

    def _first(self, name: str, side: int) -> int | None:
        nodes = self._builder.nodes_of(name, side)
        return int(nodes[0]) if len(nodes) else None

    def _last_a1(self, side: int) -> int | None:
        nodes = self._builder.nodes_of("A1", side)
        return int(nodes[-1]) if len(nodes) else None
