"""What the project imports is what pyproject.toml declares, and the other way round."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import twinctl

PROJECT = Path(__file__).parents[2]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
# Nothing here imports it by name: transformers does, for a model in 4 bit and for the 8-bit optimizer.
NOT_IMPORTED = {"bitsandbytes"}
# Tools that the tests run, and plug-ins of pytest.
TOOLS = {"pytest-timeout", "pytest-xdist", "ruff", "mypy"}


def normalized(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: list[str]) -> set[str]:
    """The distributions that requirements name."""
    return {normalized(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def imported(folder: Path) -> dict[str, Path]:
    """Every top-level module from elsewhere that the folder's files import, each with one of these files."""
    modules: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            modules |= {name.split(".")[0]: path for name in names}
    own = {"twinctl", "tests", *sys.stdlib_module_names}
    return {name: path for name, path in modules.items() if name not in own}


def distributions_of(modules: dict[str, Path]) -> dict[str, set[str]]:
    """The distributions that bring each module; without one, a helper that a test writes and imports."""
    known = packages_distributions()
    return {module: {normalized(name) for name in known[module]} for module in modules if module in known}


def test_every_package_that_the_product_imports_is_declared() -> None:
    declared = names_of(DECLARED["project"]["dependencies"])
    modules = imported(Path(twinctl.__file__).parent)
    missing = {module: str(modules[module]) for module, by in distributions_of(modules).items() if not by & declared}
    assert missing == {}


def test_every_package_that_is_declared_is_imported() -> None:
    used = set[str]().union(*distributions_of(imported(Path(twinctl.__file__).parent)).values())
    assert names_of(DECLARED["project"]["dependencies"]) - used == NOT_IMPORTED


def test_every_package_that_the_tests_import_is_declared_and_used() -> None:
    tools = DECLARED["dependency-groups"]["dev"]
    declared = names_of(DECLARED["project"]["dependencies"] + tools)
    modules = imported(PROJECT / "tests")
    missing = {module: str(modules[module]) for module, by in distributions_of(modules).items() if not by & declared}
    assert missing == {}
    used = set[str]().union(*distributions_of(modules).values())
    assert names_of(tools) - used <= TOOLS
