"""Grow a branching tree from one stem into a territory given by its end points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .builder import TreeBuilder
from .curves import Points, hermite, unit

Surface = Callable[[Points], Points]
"""Pulls (N, 3) points onto the surface that a vessel follows."""


@dataclass(frozen=True)
class GrowthRule:
    """How a territory is divided.

    ``murray`` is the exponent that ties radii to the number of ends: r proportional to ends^(1/murray). Cerebral
    arteries measure 2.5 to 3 (Murray 1926: 3; Bullitt 2005 near 2.6).
    """

    murray: float = 2.7
    advance: tuple[float, float] = (0.22, 0.5)
    """Where on the way to the middle of its targets a vessel divides."""
    split: tuple[float, float] = (0.1, 0.45)
    """Share of targets that the smaller branch takes."""
    leaf_taper: float = 0.45
    """Radius at the end of a terminal branch over its radius at the start."""
    step_mm: float = 1.1


@dataclass
class _Front:
    node: int
    direction: Points
    targets: Points
    depth: int


def grow(
    builder: TreeBuilder,
    node: int,
    direction: Points,
    targets_mm: Points,
    *,
    radius_mm: float,
    segment: str,
    side: int,
    rng: np.random.Generator,
    surface: Surface | None = None,
    wander_mm: float = 0.0,
    rule: GrowthRule | None = None,
) -> None:
    """Connect ``node`` with every target by repeated division.

    Parameters
    ----------
    builder : TreeBuilder
    node : int
        Where the stem ends.
    direction : (3,) ndarray
        Unit direction of the stem there.
    targets_mm : (M, 3) ndarray
        Ends of the territory; nothing is grown for an empty territory.
    radius_mm : float
        Radius of the stem.
    segment, side, wander_mm
        As in :meth:`TreeBuilder.add_points`.
    surface : callable or None
        Keeps the branches on a surface.
    rule : GrowthRule or None
        None for the default rule.
    """
    if len(targets_mm) == 0:
        return
    rule = rule or GrowthRule()
    total = len(targets_mm)
    stack = [_Front(node, direction, np.asarray(targets_mm, np.float64), 0)]
    while stack:
        front = stack.pop()
        here = builder.position(front.node)
        count = len(front.targets)
        radius = radius_mm * (count / total) ** (1 / rule.murray)
        if count == 1:
            _add_leaf(builder, front, radius, segment, side, surface, wander_mm, rule)
            continue
        middle = front.targets.mean(0)
        division = here + rng.uniform(*rule.advance) * (middle - here)
        if surface is not None:
            division = surface(division[None])[0]
        heading = unit(unit(middle - here) + 0.6 * front.direction + 0.2 * rng.standard_normal(3))
        points = hermite(here, front.direction, division, heading, rule.step_mm)
        if surface is not None:
            points = _follow(points, surface)
        radii = np.linspace(radius, 0.94 * radius, len(points))
        ids = builder.add_points(points, radii, segment, side, front.node, wander_mm)
        small, large = _divide(front.targets, division, heading, rng.uniform(*rule.split))
        for part, keep in ((large, 0.75), (small, 0.15)):
            aim = unit(keep * heading + (1 - keep) * unit(part.mean(0) - division))
            stack.append(_Front(int(ids[-1]), aim, part, front.depth + 1))


def add_twigs(
    builder: TreeBuilder,
    nodes: npt.NDArray[np.intp],
    count: int,
    *,
    segment: str,
    side: int,
    rng: np.random.Generator,
    length_mm: tuple[float, float] = (5.0, 20.0),
    radius_mm: tuple[float, float] = (0.1, 0.24),
    surface: Surface | None = None,
) -> None:
    """Sprout short fine branches, which fade out, from random nodes."""
    for node in rng.choice(nodes, size=min(count, len(nodes)), replace=False):
        start = builder.position(int(node))
        direction = unit(rng.standard_normal(3))
        end = start + rng.uniform(*length_mm) * unit(direction + 0.5 * rng.standard_normal(3))
        points = hermite(start, direction, end, unit(rng.standard_normal(3)), 1.0)
        if surface is not None:
            points = _follow(points, surface)
        radius = min(rng.uniform(*radius_mm), 0.9 * builder.radius(int(node)))
        radii = radius * np.linspace(1, 0.4, len(points))
        builder.add_points(points, radii, segment, side, int(node), 0.6)


def _add_leaf(
    builder: TreeBuilder,
    front: _Front,
    radius: float,
    segment: str,
    side: int,
    surface: Surface | None,
    wander_mm: float,
    rule: GrowthRule,
) -> None:
    here = builder.position(front.node)
    end = front.targets[0]
    points = hermite(here, front.direction, end, unit(end - here), rule.step_mm)
    if surface is not None:
        points = _follow(points, surface)
    taper = 1 - (1 - rule.leaf_taper) * np.linspace(0, 1, len(points)) ** 1.3
    builder.add_points(points, radius * taper, segment, side, front.node, wander_mm)


def _divide(targets: Points, division: Points, heading: Points, share: float) -> tuple[Points, Points]:
    """Split targets by a plane that contains the heading: (smaller, larger) part, none empty."""
    offset = targets - division
    across = offset - (offset @ heading)[:, None] * heading
    _, _, axes = np.linalg.svd(across - across.mean(0), full_matrices=False)
    order = np.argsort(across @ axes[0])
    cut = min(max(1, round(share * len(targets))), len(targets) - 1)
    left, right = targets[order[:cut]], targets[order[cut:]]
    mirrored = targets[order[::-1][:cut]], targets[order[::-1][cut:]]
    # The smaller branch goes to the side on which its targets lie further off the way ahead.
    return max((left, right), mirrored, key=lambda pair: _spread(pair[0], division, heading))


def _spread(part: Points, division: Points, heading: Points) -> float:
    return -float(unit(part.mean(0) - division) @ heading)


def _follow(points: Points, surface: Surface) -> Points:
    """Ease from the first point onto the surface."""
    weight = np.minimum(1.0, np.arange(1, len(points) + 1) / 6.0)[:, None]
    return points + weight * (surface(points) - points)
