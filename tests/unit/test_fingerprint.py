"""Equal requests have equal fingerprints; whatever changes the result changes it, and nothing else does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.phases import TABLE, phase
from twinctl.pipeline.phase import AnyPlan, NoInputs, Plan
from twinctl.workspace.fingerprint import canonical, differences, fingerprint

# The fingerprints of the phases' default recipes over the inputs {"upstream": "0" * 64}. When this fails, results that
# people have cached would not be found any more, or would be found although they are not what the code makes now.
# If what run() makes did change, raise the phase's `version` and put the new fingerprint here. If it did not (a field
# was renamed, a default moved to a preset), find a way that leaves the fingerprint as it is.
GOLDEN = {
    "prepare": "a058c88e30aafdce199df4302233d254bd0ff2e7c5a9497b1bf080587350b4f6",
    "train": "9a995d066111772d7edaba79f8723a2e78b59cb76d87ec4784a8fe4f45d28438",
    "merge": "1e4aa4d207bd7ea1ae6ca4a26523ba60e022e353d53042da3ac2fc37a3a16817",
    "merge-4bit": "dfee9cebe0bf5eac54977155045da6f9cd473c329419c3b45a24bbdbf3d1c943",
    "gguf": "1286fb171ed5b6dba293c4fbcfdcb4cd4b9a3f32a96525581fbfbf9f4cfb7936",
    "push": "89246bc9f033c99fe77f35ac1be51c3b802a18ac8b7cd58cacb96d597e439c25",
}


def plan_of(name: str, recipe: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None) -> AnyPlan:
    """A request of the phase with these fields, all others at their defaults."""
    declared = phase(name)
    needed = {"model": "somewhere"} if "model" in declared.options.model_fields else {}
    asked = {"repo": "me/twin"} if "repo" in declared.recipe.model_fields else {}
    return Plan(
        phase=declared,
        slot=name,
        slug="any",
        produces="any",
        recipe=declared.recipe.model_validate({**asked, **(recipe or {})}),
        origins={},
        inputs={"upstream": "0" * 64},
        parents={},
        options=declared.options.model_validate({**needed, **(options or {})}),
        resolve_inputs=NoInputs,
    )


def another(model: type[BaseModel], name: str) -> Any:
    """A valid value of the field that is not its default."""
    field = model.model_fields[name]
    default, kind = field.get_default(), field.annotation
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if choice != default), None)
    if get_origin(kind) is tuple:
        return ("another",)
    if isinstance(default, bool):
        return not default
    if isinstance(default, float):
        return default / 2 or 0.25
    if kind == float | None:
        return 1.5
    if isinstance(default, int) or kind == int | None:
        return (default or 0) + 1
    if any(get_origin(choice) is Literal for choice in get_args(kind)):  # a number, or one of some words
        return 1
    return "another"


def fields_of(part: str) -> list[tuple[str, str]]:
    """Every field of every phase that has a second value."""
    models = {name: getattr(phase(name), part) for name in TABLE}
    return [
        (name, field)
        for name, model in models.items()
        for field in model.model_fields
        if another(model, field) is not None
    ]


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})
    assert canonical({"b": [1, 2]}) != canonical({"b": [2, 1]})


def test_the_canonical_text_is_the_same_bytes_everywhere() -> None:
    value = {"b": [1, 2.5, 3.0, -0.0, True, None], "a": "é\n", "c": ("x", {"y": 3e-4})}
    assert canonical(value) == b'{"a":"\\u00e9\\n","b":[1,2.5,3,0,true,null],"c":["x",{"y":0.0003}]}'


@pytest.mark.parametrize(("one", "other"), [(3, 3.0), (0.0, -0.0), (1e3, 1000), ((1, 2), [1, 2])])
def test_one_value_written_in_two_ways_is_one(one: Any, other: Any) -> None:
    assert fingerprint({"x": one}) == fingerprint({"x": other})


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), ("1", 1), (None, "null"), ("", None), ([], None), (0.1, 0.1000001), ("é", "e\u0301")]
)
def test_two_values_are_not_one(one: Any, other: Any) -> None:
    assert fingerprint({"x": one}) != fingerprint({"x": other})


@pytest.mark.parametrize("value", [Path("a"), {1, 2}, b"bytes", object(), Decimal("1.5"), 1j, {1: "int key"}, iter([])])
def test_a_type_that_json_lacks_raises(value: Any) -> None:
    with pytest.raises(TypeError):
        fingerprint({"x": {"y": [value]}})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_raises(value: float) -> None:
    with pytest.raises(ValueError):
        fingerprint({"x": value})


def test_differences_name_the_fields() -> None:
    before = {"train": {"rank": 16, "epochs": 3, "modules": ["q"]}, "digest": "a" * 64, "gone": 1}
    after = {"train": {"rank": 32, "epochs": 3.0, "modules": ["q", "k"]}, "digest": "b" * 64, "new": "x"}
    assert differences(before, after) == [
        "train.rank 16 → 32",
        'train.modules ["q"] → ["q", "k"]',
        "digest aaaaaaaa → bbbbbbbb",
        "gone 1 → null",
        "new null → x",
    ]
    assert differences({"rank": 16}, {"rank": 32}, "train") == ["train.rank 16 → 32"]


def test_equal_values_have_no_differences() -> None:
    assert differences({"a": 3, "b": {"c": (1,)}}, {"b": {"c": [1]}, "a": 3.0}) == []


def test_a_long_difference_is_cut_short() -> None:
    (line,) = differences({"a": "x" * 500}, {"a": "y" * 500})
    assert len(line) < 140


@pytest.mark.parametrize("name", TABLE)
def test_the_fingerprint_of_the_default_recipe_has_not_moved(name: str) -> None:
    assert plan_of(name).fingerprint == GOLDEN[name], "read the comment above GOLDEN"


@pytest.mark.parametrize(("name", "field"), fields_of("recipe"))
def test_every_field_of_a_recipe_changes_the_fingerprint(name: str, field: str) -> None:
    assert plan_of(name, {field: another(phase(name).recipe, field)}).fingerprint != plan_of(name).fingerprint


@pytest.mark.parametrize(("name", "field"), fields_of("options"))
def test_no_option_changes_the_fingerprint(name: str, field: str) -> None:
    changed = plan_of(name, options={field: another(phase(name).options, field)})
    assert changed.options != plan_of(name).options
    assert changed.fingerprint == plan_of(name).fingerprint


def test_a_default_that_is_spelled_out_is_the_default() -> None:
    default = TrainRecipe()
    assert plan_of("train", default.model_dump()).fingerprint == plan_of("train").fingerprint
    assert plan_of("train", {"epochs": 3, "learning_rate": "3e-4"}).fingerprint == plan_of("train").fingerprint


def test_auto_stays_auto_in_what_is_hashed() -> None:
    assert plan_of("train").payload["recipe"]["dtype"] == "auto"


def test_what_is_hashed_is_the_request_and_nothing_more() -> None:
    plan = plan_of("train")
    assert set(plan.payload) == {"algo", "phase", "version", "recipe", "inputs"}
    assert set(plan.payload["recipe"]) == set(TrainRecipe.model_fields)


def test_recipes_and_options_share_no_field() -> None:
    """A field's place decides whether it is hashed, and both are filled from one section of twinctl.toml."""
    for name in TABLE:
        assert not set(phase(name).recipe.model_fields) & set(phase(name).options.model_fields), name


@pytest.mark.parametrize("model", [TrainRecipe, TrainOptions])
def test_a_model_is_frozen_and_knows_no_other_field(model: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        model().__setattr__(next(iter(model.model_fields)), 1)
    with pytest.raises(ValueError, match="extra"):
        model.model_validate({"rnak": 1})
