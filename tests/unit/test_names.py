"""One name means one thing: no two modules of the product define a public class, function or type of the same name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import twinctl

ROOT = Path(twinctl.__file__).parent
# Each module of phases/ has its own `plan` and `run`, and each process its own `main`.
PROTOCOL = {"plan", "run", "main"}
TYPE = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*")


def is_command(function: ast.FunctionDef) -> bool:
    """Whether the function is a command: it is named as the user types it, often as the function that it calls."""
    return any("app" in ast.unparse(decorator) for decorator in function.decorator_list)


def public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and not is_command(node)):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (t.id for t in targets if isinstance(t, ast.Name) and TYPE.fullmatch(t.id))


def defined_twice(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """The public names that several modules define, with the modules."""
    modules: dict[str, list[str]] = defaultdict(list)
    for module, tree in trees.items():
        for name in set(public_names(tree)):
            if not name.startswith("_") and name not in PROTOCOL:
                modules[name].append(module)
    return {name: found for name, found in modules.items() if len(found) > 1}


def test_a_public_name_is_defined_in_one_module() -> None:
    paths = sorted(ROOT.rglob("*.py"))
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    assert len(trees) > 200
    assert defined_twice(trees) == {}


def test_a_name_that_is_defined_twice_is_seen() -> None:
    first = (
        "class Frame: ...\nPoint = tuple[int, int]\ndef show(): ...\n@command(app)\ndef push(): ...\ndef main(): ..."
    )
    second = "Frame = int\nclass Point: ...\ndef show(): ...\ndef push(): ...\ndef main(): ...\n_T = T = LIMIT = 3"
    third = "_T = T = LIMIT = 3"
    trees = {name: ast.parse(code) for name, code in (("a", first), ("b", second), ("c", third))}
    assert defined_twice(trees) == {"Frame": ["a", "b"], "Point": ["a", "b"], "show": ["a", "b"]}
