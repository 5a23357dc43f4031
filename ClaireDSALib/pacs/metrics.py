"""Counters of a running receiver in Prometheus's text format."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ClaireDSALib import __version__

PREFIX = "claire_dsa_"

_HELP = {
    "objects_received_total": "Objects that were stored and acknowledged.",
    "objects_repeated_total": "Objects that were there already, acknowledged again.",
    "received_bytes_total": "Bytes of the objects that were stored.",
    "objects_refused_total": "Objects that were refused, by reason.",
    "connections_refused_total": "Connections and associations that were refused or cut off.",
    "analyses_total": "Analyses, by outcome.",
    "analysis_seconds_total": "Time spent in analyses.",
    "results_sent_total": "Objects that a destination took, by destination.",
    "sending_failures_total": "Tries to send that failed and will be repeated, by destination.",
    "results_refused_total": "Objects that a destination will never take, by destination.",
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters since the start of the process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], float] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter.

        Raises
        ------
        KeyError
            For a counter that is not described in this module.
        """
        if name not in _HELP:
            msg = f"there is no counter {name!r}; known are {sorted(_HELP)}"
            raise KeyError(msg)
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def get(self, name: str, **labels: str) -> float:
        """Value of a counter, 0 when it never counted."""
        with self._lock:
            return self._counts.get((name, tuple(sorted(labels.items()))), 0)

    def text(self, gauges: Mapping[str, float | Mapping[str, float]]) -> str:
        """Everything in text format 0.0.4.

        Parameters
        ----------
        gauges : mapping
            Name without prefix to a value, or to values by ``state``.
        """
        with self._lock:
            counts = dict(self._counts)
        lines = []
        for name, description in _HELP.items():
            lines += [f"# HELP {PREFIX}{name} {description}", f"# TYPE {PREFIX}{name} counter"]
            found = {labels: value for (counter, labels), value in counts.items() if counter == name}
            lines += [_line(name, labels, value) for labels, value in sorted(found.items())] or [_line(name, (), 0)]
        for name, value in gauges.items():
            lines.append(f"# TYPE {PREFIX}{name} gauge")
            states = value.items() if isinstance(value, Mapping) else [("", value)]
            lines += [_line(name, (("state", state),) if state else (), number) for state, number in states]
        lines += [f"# TYPE {PREFIX}build_info gauge", _line("build_info", (("version", __version__),), 1)]
        return "\n".join(lines) + "\n"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{PREFIX}{name}{f'{{{inside}}}' if inside else ''} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
