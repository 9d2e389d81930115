"""The size of the product's functions and files, docstrings of modules, and no cycle between modules.

A function is measured from its `def` to its last line; decorators are left out. demo/ is left out too: much of it is
the text of the bundled author.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import twinctl

ROOT = Path(twinctl.__file__).parent
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 400, 80
MEDIAN, NINE_IN_TEN = 12, 30


def modules() -> dict[str, ast.Module]:
    """The product's modules by path."""
    paths = sorted(ROOT.rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


MODULES = modules()


def functions() -> dict[str, int]:
    """The number of lines of each function outside demo/."""
    return {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in MODULES.items()
        if not path.startswith("demo/")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def test_functions_are_short() -> None:
    lines = sorted(functions().values())
    assert statistics.median(lines) <= MEDIAN
    assert lines[int(0.9 * len(lines))] <= NINE_IN_TEN


def test_no_function_is_long() -> None:
    long = {name for name, lines in functions().items() if lines > MOST_LINES_OF_A_FUNCTION}
    assert {f"{name.split(':')[0]}: {name.split()[-1]}" for name in long} == set()


def test_no_file_is_long() -> None:
    sizes = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in sizes.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_every_module_says_what_it_is() -> None:
    assert [path for path, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count; those that only a type checker sees do not."""
    names = {_name(path): tree for path, tree in MODULES.items()}
    graph = {name: set(_imported(tree, names)) - {name} for name, tree in names.items()}
    assert _cycle(graph) == []


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """Some modules each of which imports the next, the last being the first again."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [*reversed(error.args[1])]
    return []


def _name(path: str) -> str:
    parts = [ROOT.name, *Path(path).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.AST, names: dict[str, ast.Module]) -> Iterator[str]:
    """The product's modules that a module imports, at its top or inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            candidates = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in names else str(node.module) for name in candidates)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from _imported(node, names)
