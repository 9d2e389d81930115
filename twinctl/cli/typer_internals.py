"""Everything that this project uses of Typer without Typer documenting it.

What must stay true: no other module of the project names `typer._click`, a private attribute of Typer, or click. A
test uses each name as the project does, and says which one a release of Typer has changed.
"""

from __future__ import annotations

from typer._click import Command, Context, HelpFormatter, Parameter
from typer.exceptions import TyperException

__all__ = ["Command", "Context", "HelpFormatter", "Parameter", "TyperException"]
