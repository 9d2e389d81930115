"""What holds for the tests themselves: where helpers are, what a fixture's name means, and that each test asserts."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import twinctl

TESTS = Path(__file__).parents[1]
PRODUCT = Path(twinctl.__file__).parent
SUPPORT = TESTS / "support"
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(TESTS.rglob("*.py"))
    if "benchmarks" not in path.relative_to(TESTS).parts
}
EXPECTING = ("expect", "expect_exact")  # pexpect's: they fail when a text never comes
ASSERTING = ("pytest.raises", "pytest.fail", "pytest.warns", "np.testing.", "numpy.testing.", "torch.testing.")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_helpers_come_from_support() -> None:
    """No test module imports another one or a conftest.py, and there is one way to write it."""
    wrong = [
        f"{path.relative_to(TESTS)}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.level or _is_no_helper(node.module or "")))
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "tests" for alias in node.names))
    ]
    assert wrong == []


def _is_no_helper(module: str) -> bool:
    parts = module.split(".")
    return parts[0] in ("conftest", "tests") and parts[:2] != ["tests", "support"]


def test_the_name_of_a_fixture_means_one_thing() -> None:
    """A name that is defined twice has one type and one docstring; or one definition refines the other, by asking for
    it by that name.
    """
    meanings: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for tree in TREES.values():
        for function in functions(tree):
            is_fixture = any("fixture" in ast.unparse(decorator) for decorator in function.decorator_list)
            if is_fixture and function.name not in [argument.arg for argument in function.args.args]:
                kind = ast.unparse(function.returns) if function.returns else ""
                meanings[function.name].add((kind, ast.get_docstring(function) or ""))
    assert {name: sorted(found) for name, found in meanings.items() if len(found) > 1} == {}


def test_every_test_asserts() -> None:
    """By itself, or in a function or method of its module or of tests/support that it calls."""
    shared = _asserting([tree for path, tree in TREES.items() if path.parent == SUPPORT], set())
    silent = [
        f"{path.relative_to(TESTS)}:{test.lineno}: {test.name}"
        for path, tree in TREES.items()
        if path.name.startswith("test_")
        for helpers in [_asserting([tree], shared)]
        for test in functions(tree)
        if test.name.startswith("test_") and not _asserts(test, helpers)
    ]
    assert silent == []


def test_what_code_in_strings_imports_is_there() -> None:
    """Code for other processes stands in strings, where neither ruff nor an editor sees a name that is gone."""
    missing = [
        f"{path.relative_to(TESTS)}:{node.lineno}: {module}.{name}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for module, names in re.findall(r"(?:^|\n|; ?)from ((?:twinctl|tests)[\w.]*) import ([\w ,]+)", node.value)
        for name in re.findall(r"(\w+)(?: as \w+)?", names)
        if not _defines(module, name)
    ]
    assert missing == []


def _defines(module: str, name: str) -> bool:
    """Whether a module of the product or of the tests has that name, by its text."""
    path = PRODUCT.parent if module.startswith("twinctl") else TESTS.parent
    path = path.joinpath(*module.split("."))
    if (path / name).is_dir() or (path / f"{name}.py").exists():
        return True
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not source.exists():
        return False
    defined: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    return name in defined


def _asserting(trees: Iterable[ast.AST], known: set[str]) -> set[str]:
    """The names of the functions in which something is asserted, by themselves or by those that they call."""
    found, helpers = set(known), [function for tree in trees for function in functions(tree)]
    while new := {helper.name for helper in helpers if helper.name not in found and _asserts(helper, found)}:
        found |= new
    return found


def _asserts(function: ast.FunctionDef, helpers: set[str]) -> bool:
    nodes = list(ast.walk(function))
    called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return any(isinstance(node, ast.Assert) for node in nodes) or any(
        name.startswith(ASSERTING) or name.split(".")[-1] in (*EXPECTING, *helpers) for name in called
    )
