"""Who may import whom, and what stays out of a process that only shows something."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import twinctl

ROOT = Path(twinctl.__file__).parent
STACK = {"torch", "transformers", "datasets", "unsloth", "trl", "peft", "comet_ml", "huggingface_hub", "xllamacpp"}
HEAVY = STACK | {"pydantic", "rich", "pyarrow", "numpy", "jinja2", "tokenizers", "gguf"}
LIGHT_ROOMS = ("cli", "phases", "settings", "workspace", "recipes", "chat", "data", "takeaway", "card")
OUTSIDE = {"engine", "gguf", "hub", "tracking", "demo"}
# What a room may import when it is imported, besides itself; None: anything. Below functions is another matter.
MAY_IMPORT = {
    "errors": set(),
    "recipes": {"errors"},
    "workspace": {"errors"},
    "settings": {"errors", "recipes"},
    "data": {"errors", "workspace"},
    "takeaway": {"errors", "recipes", "workspace", "data"},
}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]


def name_of(path: Path) -> str:
    parts = [twinctl.__name__, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms() -> list[str]:
    entries = [path for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(path.stem for path in entries if path.stem != "__init__")


def imports(path: Path, *, at_import: bool) -> set[str]:
    """The rooms of twinctl that the module imports: anywhere, or only while it is itself imported."""
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), at_import):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "twinctl" else {module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("twinctl.")} & set(rooms())


def _nodes(node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_import and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if at_import and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _nodes(child, at_import)


def loaded_after(statements: list[str], among: set[str]) -> set[str]:
    """Which of these packages or modules a fresh Python has loaded after the statements."""
    code = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {*found, *(name.split(".")[0] for name in found)} & among


def test_the_root_command_loads_nothing_heavy() -> None:
    assert loaded_after(["import twinctl.cli.app"], HEAVY) == set()


@pytest.mark.parametrize("command", ["status", "export", "train", "prepare"])
def test_how_twins_travel_is_loaded_by_those_that_travel_alone(command: str) -> None:
    """Its checks of a document from the Hub take half as long to set up as all of `twinctl status`."""
    assert loaded_after([f"import twinctl.cli.{command}"], {"twinctl.phases.travelling"}) == set()


def test_no_module_on_the_way_to_a_cached_result_loads_the_stack() -> None:
    statements = [f"import {name_of(path)}" for room in LIGHT_ROOMS for path in modules(room)]
    assert len(statements) > 40
    assert loaded_after(statements, STACK | {"pyarrow", "jinja2", "tokenizers"}) == set()


def test_the_rules_see_an_import_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import twinctl.cli\nfrom twinctl import hub\ndef f():\n    from twinctl.engine import start\n")
    assert imports(path, at_import=False) == {"cli", "hub", "engine"}
    assert imports(path, at_import=True) == {"cli", "hub"}


@pytest.mark.parametrize("room", [room for room in rooms() if room != "cli"])
def test_nothing_imports_the_command_line(room: str) -> None:
    assert [path for path in modules(room) if "cli" in imports(path, at_import=False)] == []


@pytest.mark.parametrize("room", ["errors", "recipes", "workspace"])
def test_the_lower_rooms_import_downwards_only_also_in_functions(room: str) -> None:
    for path in modules(room):
        assert imports(path, at_import=False) <= {room, *MAY_IMPORT[room]}, path


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_downwards_only(room: str) -> None:
    for path in modules(room):
        assert imports(path, at_import=True) <= {room, *MAY_IMPORT[room]}, path


@pytest.mark.parametrize("room", ["phases", "chat", "data", "card", "settings", "takeaway"])
def test_the_outside_rooms_are_reached_inside_functions_only(room: str) -> None:
    for path in modules(room):
        assert imports(path, at_import=True).isdisjoint(OUTSIDE), path
