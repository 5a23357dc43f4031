"""A group of verbs that are listed without being imported.

Help must answer at once, while some verbs need seconds of imports. Such a verb is known by one line of
help and by the module that holds it; the module is imported when the verb is called.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main

from ClaireDSALib.cli.console import BAD_USAGE, complain


class LazyVerb(NamedTuple):
    """Where a verb lives and what the overview says about it."""

    module: str
    """Has a Typer application."""
    help: str
    extra: str = ""
    """Extra of the wheel with the packages it needs beyond the core."""
    attribute: str = "app"
    """Name of the application in the module, which may hold several."""


def group_with(verbs: Mapping[str, LazyVerb]) -> type[typer.core.TyperGroup]:
    """Group class that adds ``verbs`` to its own commands; a verb whose module is not there is left out."""

    class GroupWithLazyVerbs(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, verb in verbs.items():
                if importlib.util.find_spec(verb.module) is not None:
                    self.add_command(_LazyCommand(name, verb), name)

    return GroupWithLazyVerbs


class _LazyCommand(typer.core.TyperCommand):
    """Stands in the list for a verb, and becomes it when called."""

    def __init__(self, name: str, verb: LazyVerb) -> None:
        super().__init__(name, help=verb.help, callback=None)
        self.verb = verb

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        command = typer.main.get_command(getattr(self._module(), self.verb.attribute))
        command.name = self.name
        return command.make_context(info_name, args, parent=parent, **extra)

    def _module(self) -> Any:
        try:
            return importlib.import_module(self.verb.module)
        except ModuleNotFoundError as error:
            if not self.verb.extra or (error.name or "").startswith("ClaireDSALib"):
                raise
            complain(
                f"'{self.name}' needs the package {error.name!r}, which is not installed. "
                f'Install it with: pip install "claire-dsa[{self.verb.extra}]"'
            )
            raise typer.Exit(BAD_USAGE) from error
