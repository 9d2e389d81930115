"""Which room may import which, lazy imports counted, and what stays out of a process that only shows something."""

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
# From below. A room imports from earlier lines and from itself; rooms on one line do not know each other.
ORDER = [
    {"errors", "wording", "bundled"},
    {"workspace", "config", "child_process"},
    {"hub", "tracking", "docs"},
    {"data"},
    {"inference", "pipeline"},
    {"planning", "gguf", "ollama"},
    {"engine"},
    {"verification"},
    {"publishing", "chat", "doctor"},
    {"phases"},
    {"api"},
    {"worker", "demo"},
    {"cli"},
]
# Showing a cached result loads none of the stack: these rooms import it inside functions only.
LIGHT_ROOMS = ("cli", "phases", "pipeline", "planning", "config", "workspace", "inference", "chat", "data", "ollama")


def rooms() -> list[str]:
    entries = [path for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(path.stem for path in entries if path.stem != "__init__")


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]


def name_of(path: Path) -> str:
    parts = [twinctl.__name__, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_import: bool = False) -> set[str]:
    """The rooms of twinctl that the module imports: anywhere, or only while it is itself imported."""
    names = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), at_import):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "twinctl" else {module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("twinctl.")} & set(rooms())


def _nodes(node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_import and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if at_import and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _nodes(child, at_import)


def allowed(room: str) -> set[str]:
    """The room itself and every room on an earlier line."""
    level = next(number for number, line in enumerate(ORDER) if room in line)
    return {room}.union(*ORDER[:level])


def upward(path: Path, room: str) -> list[str]:
    return [f"{name_of(path)} imports {other}" for other in sorted(imports(path) - allowed(room))]


def loaded_after(statements: list[str], among: set[str]) -> set[str]:
    """Which of these packages or modules a fresh Python has loaded after the statements."""
    code = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = json.loads(done.stdout)
    return {*names, *(name.split(".")[0] for name in names)} & among


def test_every_room_has_its_place_in_the_order() -> None:
    assert sorted(room for line in ORDER for room in line) == rooms()


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_from_rooms_below_it_only_lazy_imports_counted(room: str) -> None:
    assert [import_ for path in modules(room) for import_ in upward(path, room)] == []


def test_an_upward_import_is_seen_wherever_it_stands_and_named(tmp_path: Path) -> None:
    path = ROOT / "module.py"
    planted = tmp_path / "module.py"
    planted.write_text("import twinctl.cli\nfrom twinctl import hub\ndef f():\n    from twinctl.engine import models\n")
    assert imports(planted) == {"cli", "hub", "engine"}
    assert imports(planted, at_import=True) == {"cli", "hub"}
    assert imports(planted) - allowed("data") == {"cli", "engine"}
    assert name_of(path) == "twinctl.module"


def test_importing_twinctl_loads_nothing_heavy() -> None:
    assert loaded_after(["import twinctl", "dir(twinctl)"], HEAVY | {"twinctl.api"}) == set()


def test_the_root_command_loads_nothing_heavy() -> None:
    assert loaded_after(["import twinctl.cli.app"], HEAVY) == set()


@pytest.mark.parametrize("command", ["status", "export", "train", "prepare"])
def test_the_hub_manifest_is_loaded_by_the_commands_that_read_it_alone(command: str) -> None:
    """Its checks of a document from the Hub take half as long to set up as all of `twinctl status`."""
    assert loaded_after([f"import twinctl.cli.{command}"], {"twinctl.publishing.hub_manifest"}) == set()


def test_no_module_on_the_way_to_a_cached_result_loads_the_stack() -> None:
    statements = [f"import {name_of(path)}" for room in LIGHT_ROOMS for path in modules(room)]
    assert len(statements) > 40
    assert loaded_after(statements, STACK | {"pyarrow", "jinja2", "tokenizers"}) == set()
