"""Each kind of error has one exit code, wherever it is raised, and the manual's table has them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import twinctl
from tests.support.manual_pages import rows
from twinctl.docs.topics import FOLDER
from twinctl.errors import SigTerm, Terminated, TwinctlError, error_of, explained

ROOT = Path(twinctl.__file__).parent
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))
}


def kinds(kind: type[TwinctlError] = TwinctlError) -> Iterator[type[TwinctlError]]:
    """The class and all below it."""
    yield kind
    for narrower in kind.__subclasses__():
        yield from kinds(narrower)


def test_the_manual_has_every_kind_with_its_code() -> None:
    table = {name: int(code) for code, name, *_ in rows(FOLDER / "exit-codes.md", "exit code") if name != "–"}
    assert table == {kind.__name__: kind.exit_code for kind in kinds() if kind.__module__ == "twinctl.errors"}
    assert len(set(table.values())) == len(table)


def test_every_kind_is_defined_in_errors() -> None:
    """Another module's kind would be unknown to error_of, and to the manual."""
    names = {kind.__name__ for kind in kinds()}
    classes = [(module, node) for module, tree in TREES.items() for node in ast.walk(tree) if is_error(node, names)]
    assert {node.name for module, node in classes if module == "errors.py"} == names - {"TwinctlError"}
    assert [f"{module}: {node.name}" for module, node in classes if module != "errors.py"] == []


def is_error(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.ClassDef) and bool({ast.unparse(base).split(".")[-1] for base in node.bases} & names)


def test_no_exit_code_is_written_down_elsewhere() -> None:
    """A process of twinctl's ends with an error's code, or with 0."""
    written = [f"{module}:{node.lineno}" for module, tree in TREES.items() for node in ast.walk(tree) if is_code(node)]
    assert [place for place in written if not place.startswith("errors.py:")] == []
    assert len(written) == len(list(kinds()))


def is_code(node: ast.AST) -> bool:
    """Whether `exit_code` is assigned, or a process ended with a number other than 0."""
    if isinstance(node, ast.Assign):
        return "exit_code" in [ast.unparse(target).split(".")[-1] for target in node.targets]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Exit", "SystemExit", "sys.exit", "os._exit"):
        return any(isinstance(value, ast.Constant) and value.value != 0 for value in node.args)
    return False


@pytest.mark.parametrize("kind", list(kinds()))
def test_an_error_that_was_written_down_is_read_back(kind: type[TwinctlError]) -> None:
    error = kind("what happened", "what to do")
    again = error_of(**error.document)
    assert (type(again), again.message, again.hint) == (kind, "what happened", "what to do")
    assert again.exit_code == kind.exit_code and explained(again) is again


def test_an_error_of_another_twinctl_is_none_of_these_kinds() -> None:
    assert type(error_of("NewerError", "what happened", "")) is TwinctlError


def test_sigterm_ends_a_process_with_its_code() -> None:
    assert SigTerm().code == Terminated.exit_code
