"""The architecture page tells of the code as it is: rooms, order, places."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.manual_pages import ROOT, blocks, inline_code, rows
from twinctl.cli import init, phase_args
from twinctl.cli.app import COMMANDS
from twinctl.config import push, resolve
from twinctl.config.recipe import Options
from twinctl.config.train import TrainRecipe
from twinctl.data.files import DOCUMENTS, READERS
from twinctl.data.shapes import PARSERS, SHAPES
from twinctl.docs.settings import TABLES
from twinctl.docs.topics import FOLDER
from twinctl.hub.secret_scan import ALLOWED
from twinctl.phases import TABLE, phase
from twinctl.pipeline.kind import Kind
from twinctl.publishing.upload_plan import KINDS, SUFFIXES
from twinctl.verification.verify_artifact import to_prove
from twinctl.workspace.artifact import Record

PAGE = FOLDER / "architecture.md"
PACKAGE = ROOT / "twinctl"


def order_of_the_import_rules() -> list[set[str]]:
    tree = ast.parse((ROOT / "tests" / "unit" / "test_import_rules.py").read_text(encoding="utf-8"))
    found: Any = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER"
    )
    return [set(line) for line in ast.literal_eval(found)]


def test_the_order_is_the_one_that_is_tested() -> None:
    order = [set(line.split(" · ")) for line in blocks(PAGE, "text")[0].splitlines()]
    assert order == order_of_the_import_rules()


def test_every_room_is_described_once() -> None:
    described = [row[0] for row in rows(PAGE, "room")]
    assert sorted(described) == sorted(set().union(*order_of_the_import_rules()))


def names_in(path: Path) -> set[str]:
    """What a module defines at its top level, and the fields and methods of its classes."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in nodes:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(child.name)
                if isinstance(child, ast.ClassDef):
                    nodes.append(child)
            elif isinstance(child, (ast.Assign, ast.AnnAssign)):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_place_on_the_page_exists() -> None:
    codes = [code for code in inline_code(PAGE) if "NAME" not in code]
    places = [re.fullmatch(r"([\w/.-]+\.(?:py|jinja|md))(?::(\w+))?", code) for code in codes]
    named = [(match[1], match[2]) for match in places if match]
    assert len(named) > 20
    missing = []
    for file, name in named:
        path = next((root / file for root in (PACKAGE, ROOT) if (root / file).exists()), None)
        if path is None or (name is not None and name not in names_in(path)):
            missing.append(f"{file}:{name}")
    assert missing == []


def test_every_row_shape_is_on_the_page_of_the_data_formats() -> None:
    """A new shape needs its columns, its reader, and its line there."""
    described = [
        set(re.findall(r"`(\w+)`", row[0])) for row in rows(FOLDER / "data-formats.md", "a row with these columns")
    ]
    assert PARSERS.keys() == SHAPES.keys()
    assert len(described) == len(SHAPES)
    for needs, _ in SHAPES.values():
        assert any(set(needs) <= columns for columns in described), needs


def test_every_file_format_is_on_the_page_of_the_data_formats() -> None:
    """A new format needs its reader and its line there."""
    described = {name for row in rows(FOLDER / "data-formats.md", "type") for name in re.findall(r"`\.(\w+)`", row[0])}
    assert described == {*READERS, *DOCUMENTS}


@pytest.mark.parametrize("name", TABLE)
def test_every_phase_is_in_all_the_places_of_a_phase(name: str) -> None:
    declared = phase(name)
    assert declared.name == name
    assert declared.command.split()[0] in COMMANDS
    assert (name in phase_args.ALSO["export"]) == declared.command.startswith("export")
    assert set(declared.makes) <= {kind.value for kind in Kind}
    if declared.section:
        shown = {model for section, model in TABLES.values() if section == declared.section}
        models = {declared.recipe, declared.options} - {Options}
        assert declared.section in resolve.SECTIONS
        assert models <= set(init.SECTIONS[declared.section])
        assert models <= shown


@pytest.mark.parametrize("field", TrainRecipe.model_fields)
def test_every_hyperparameter_is_used_by_the_engine(field: str) -> None:
    """What is hashed and shown without being used would be a promise that nobody keeps."""
    used = [*(PACKAGE / "engine").glob("*.py"), PACKAGE / "config" / "train.py"]
    assert any(re.search(rf"\b_?(?:recipe|self)\.{field}\b", path.read_text(encoding="utf-8")) for path in used)


def test_every_section_of_the_settings_is_on_the_page_and_in_the_file_that_init_writes() -> None:
    assert set(resolve.SECTIONS) == init.SECTIONS.keys()
    assert set(resolve.SECTIONS) <= {section for section, _ in TABLES.values()}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_result_has_a_command_that_makes_it(kind: Kind) -> None:
    assert kind.command.split()[0] in COMMANDS


def test_every_exported_kind_can_be_proven_later() -> None:
    exported = [kind for name in phase_args.ALSO["export"] for kind in phase(name).makes]
    for kind in exported:
        record = Record(
            **dict.fromkeys(("phase", "slot", "fingerprint", "digest"), ""),
            produces=kind,
            recipe={"quant": "q8_0"},
            **{name: {} for name in ("origins", "inputs", "parents", "metrics")},
            **dict.fromkeys(("version", "created", "seconds"), 0),
            warnings=[],
            files=[],
        )
        assert str(to_prove(record, "tiny")).startswith("twinctl export")


def test_every_pushed_kind_has_its_files_its_name_and_its_repository() -> None:
    assert set(get_args(push.PushKind)) == ALLOWED.keys() == KINDS.keys() == SUFFIXES.keys()
