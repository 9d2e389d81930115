"""Every value of a recipe comes from one layer, is validated there or not, and its origin is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from twinctl.config.export import ExportOptions
from twinctl.config.prepare import DataSource, PrepareOptions, PrepareRecipe
from twinctl.config.presets import DEFAULT, NAMES, preset
from twinctl.config.resolve import SECTIONS, Values, preset_name, values_of
from twinctl.config.sampling import Sampling
from twinctl.config.train import TARGET_MODULES, TrainOptions, TrainRecipe, TrainSettings, every
from twinctl.errors import ConfigError

TRAIN: tuple[type[BaseModel], ...] = (TrainRecipe, TrainOptions)
PREPARE: tuple[type[BaseModel], ...] = (PrepareRecipe, PrepareOptions)
MODELS = {"prepare": PREPARE, "train": TRAIN, "export": (ExportOptions,), "chat": (Sampling,)}


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _toml(text: str) -> None:
    Path("twinctl.toml").write_text(text, encoding="utf-8")


def _train(preset_chosen: str = "tiny", **flags: Any) -> Values:
    return values_of("train", TRAIN, preset_chosen, flags)


def test_each_layer_replaces_the_one_below_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[Any, str | None]] = []

    def look(**flags: Any) -> None:
        values = _train(**flags)
        steps.append((values.build(TrainRecipe).batch_size, values.origins.get("batch_size")))

    steps.append((TrainRecipe().batch_size, None))
    look()
    _toml("[train]\nbatch_size = 6\n")
    look()
    monkeypatch.setenv("TWINCTL_TRAIN_BATCH_SIZE", "8")
    look()
    look(batch_size=10)
    assert steps == [
        (16, None),
        (4, "preset tiny"),
        (6, "twinctl.toml"),
        (8, "TWINCTL_TRAIN_BATCH_SIZE"),
        (10, "flag"),
    ]


def test_a_layer_replaces_single_fields_and_leaves_the_others() -> None:
    _toml("[train]\nrank = 64\n")
    values = _train(alpha=128, seed=None)
    recipe = values.build(TrainRecipe)
    assert (recipe.rank, recipe.alpha, recipe.learning_rate, recipe.dropout) == (64, 128, 2e-3, 0.0)
    assert values.origins["learning_rate"] == "preset tiny"
    assert {"seed", "dropout"}.isdisjoint(values.origins)


def test_a_flag_of_nothing_is_still_given() -> None:
    assert _train(seed=0, packing=False).origins.items() >= {"seed": "flag", "packing": "flag"}.items()


def test_recipe_and_options_take_their_own_fields_of_one_section() -> None:
    _toml("[train]\nrank = 8\nmicro_batch = 1\n")
    values = _train()
    assert values.build(TrainRecipe).rank == 8
    assert values.build(TrainOptions).micro_batch == 1


def test_the_section_of_another_phase_is_not_read() -> None:
    _toml("[train]\nseed = 7\n")
    assert values_of("prepare", PREPARE, "tiny", {}).build(PrepareRecipe).seed == 0


@pytest.mark.parametrize(
    ("text", "expected"), [("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("one", ("one",)), ("a:train[:10],b", None)]
)
def test_a_list_in_the_environment_is_split_on_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[str, ...] | None
) -> None:
    monkeypatch.setenv("TWINCTL_PREPARE_DATA", text)
    data = values_of("prepare", PREPARE, "tiny", {}).build(PrepareOptions).data
    assert data == tuple(DataSource(source=name) for name in expected or ("a:train[:10]", "b"))


def test_a_text_in_the_environment_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINCTL_PREPARE_MODEL", "./a,b")
    assert values_of("prepare", PREPARE, "tiny", {}).build(PrepareOptions).model == "./a,b"


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("TWINCTL_TRAIN_MAX_STEPS", "20", "max_steps", 20),
        ("TWINCTL_TRAIN_PACKING", "false", "packing", False),
        ("TWINCTL_TRAIN_LEARNING_RATE", "1e-4", "learning_rate", 1e-4),
        ("TWINCTL_TRAIN_TARGET_MODULES", "q_proj,v_proj", "target_modules", ("q_proj", "v_proj")),
    ],
)
def test_the_environment_s_text_becomes_the_field_s_type(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(_train().build(TrainRecipe), field) == value


def test_an_unknown_field_in_the_file_names_the_near_one() -> None:
    _toml("[train]\nrnak = 8\n")
    with pytest.raises(ConfigError, match=r"twinctl\.toml: \[train\] has no field “rnak”") as caught:
        _train()
    assert caught.value.hint == "did you mean “rank”?"


def test_an_unknown_section_names_the_near_one() -> None:
    _toml("[trian]\nrank = 8\n")
    with pytest.raises(ConfigError, match="unknown key “trian”") as caught:
        _train()
    assert caught.value.hint == "did you mean “train”?"


def test_a_field_unlike_any_other_gets_the_list() -> None:
    _toml("[chat]\nzzz = 8\n")
    with pytest.raises(ConfigError) as caught:
        values_of("chat", (Sampling,), "tiny", {})
    assert caught.value.hint == f"known: {', '.join(Sampling.model_fields)}"


def test_a_value_where_a_section_belongs_is_refused() -> None:
    _toml("train = 3\n")
    with pytest.raises(ConfigError, match="train must be a section") as caught:
        _train()
    assert "[train]" in caught.value.hint


@pytest.mark.parametrize("text", ["[train]\nrank = 8\nalpha =\n", '[train]\n\nname = "open\n', "a = 1\na = 1\nb"])
def test_a_file_that_is_not_toml_is_named_with_the_line(text: str) -> None:
    _toml(text)
    with pytest.raises(ConfigError, match=r"twinctl\.toml: .*line [23]") as caught:
        _train()
    assert "twinctl init" in caught.value.hint


def test_a_file_that_is_not_utf_8_is_named() -> None:
    Path("twinctl.toml").write_bytes(b"[train]\nrank = \xff\n")
    with pytest.raises(ConfigError, match=r"twinctl\.toml: .*utf-8"):
        _train()


def test_a_bad_value_names_field_value_and_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"train\.rank = 0 \(from --rank\): .*greater than or equal to 1") as caught:
        _train(rank=0).build(TrainRecipe)
    assert "--rank" in caught.value.hint


def test_a_bad_value_names_the_file() -> None:
    _toml("[train]\nmethod = 'dora'\n")
    with pytest.raises(
        ConfigError, match=r"train\.method = 'dora' \(from twinctl\.toml\): .*'lora', 'qlora'"
    ) as caught:
        _train().build(TrainRecipe)
    assert "twinctl.toml" in caught.value.hint


def test_a_bad_value_names_the_environment_s_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINCTL_TRAIN_EPOCHS", "many")
    with pytest.raises(ConfigError, match=r"train\.epochs = 'many' \(from TWINCTL_TRAIN_EPOCHS\)") as caught:
        _train().build(TrainRecipe)
    assert "TWINCTL_TRAIN_EPOCHS" in caught.value.hint


@pytest.mark.parametrize("text", ["nan", "inf", "1e999"])
def test_a_learning_rate_that_is_no_number_is_refused(text: str) -> None:
    _toml(f"[train]\nlearning_rate = '{text}'\n")
    with pytest.raises(ConfigError, match="learning_rate"):
        _train().build(TrainRecipe)


def test_the_preset_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [preset_name(None), preset_name(None, pinned="pinned")]
    _toml("preset = 'file'\n")
    chosen.append(preset_name(None, pinned="pinned"))
    monkeypatch.setenv("TWINCTL_PRESET", "environment")
    chosen += [preset_name(None, pinned="pinned"), preset_name("flag", pinned="pinned")]
    assert chosen == [DEFAULT, "pinned", "file", "environment", "flag"]


@pytest.mark.parametrize("name", ["llama", "", "../tiny"])
def test_an_unknown_preset_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no preset") as caught:
        preset(name)
    assert caught.value.hint == "presets: twinllama, tiny"


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_valid_in_all_its_sections(name: str) -> None:
    assert set(preset(name)) - {"about"} <= set(SECTIONS)
    for section, models in MODELS.items():
        values = values_of(section, models, name, {})
        for model in models:
            values.build(model)
    train = values_of("train", TRAIN, name, {})
    TrainSettings(recipe=train.build(TrainRecipe), options=train.build(TrainOptions))


def test_the_default_preset_is_the_book_s_recipe() -> None:
    prepare, train = values_of("prepare", PREPARE, DEFAULT, {}), values_of("train", TRAIN, DEFAULT, {})
    assert prepare.build(PrepareRecipe) == PrepareRecipe(
        template="alpaca", max_length=2048, eval_fraction=0.05, seed=0, map=()
    )
    assert prepare.build(PrepareOptions) == PrepareOptions(
        model="meta-llama/Llama-3.1-8B",
        data=("mlabonne/llmtwin:train",),
        general=("mlabonne/FineTome-Alpaca-100k:train[:10000]",),
    )
    assert set(TARGET_MODULES) == {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}
    assert train.build(TrainRecipe) == TrainRecipe(
        method="lora",
        rank=32,
        alpha=32,
        dropout=0.0,
        bias="none",
        target_modules=TARGET_MODULES,
        learning_rate=3e-4,
        scheduler="linear",
        warmup_steps=10,
        weight_decay=0.01,
        optimizer="adamw_8bit",
        batch_size=16,
        epochs=3.0,
        max_steps=None,
        packing=True,
        dtype="auto",
        seed=0,
    )
    assert train.build(TrainOptions).micro_batch == "auto"


@pytest.mark.parametrize(
    ("batch", "micro", "choice"),
    [(16, 2, [2]), (4, 4, [4]), (1, 2, [1]), (6, 3, [3]), (12, "auto", [1, 2, 3, 4, 6, 12]), (1, "auto", [1])],
)
def test_micro_batches_always_make_up_the_effective_batch(batch: int, micro: Any, choice: list[int]) -> None:
    settings = TrainSettings(recipe=TrainRecipe(batch_size=batch), options=TrainOptions(micro_batch=micro))
    assert settings.micro_batches == choice


def test_a_split_that_does_not_divide_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 16 is not a multiple of micro_batch 3"):
        TrainSettings(recipe=TrainRecipe(), options=TrainOptions(micro_batch=3))


def test_evaluations_that_choose_are_the_recipes_and_others_are_as_one_likes() -> None:
    options = TrainOptions(eval_every=7)
    assert TrainSettings(recipe=TrainRecipe(), options=options).evaluate_every == 7
    assert TrainSettings(recipe=TrainRecipe(patience=2, choose_every=3), options=options).evaluate_every == 3
    assert TrainSettings(recipe=TrainRecipe(best=True), options=options).evaluate_every == 0.1


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("45m", 2700), ("1h30m", 5400), ("90", 90), ("90s", 90), ("1.5h", 5400), (12, 12), (None, None)],
)
def test_a_span_of_time_as_people_type_it(typed: Any, seconds: float | None) -> None:
    assert TrainOptions(max_time=typed).max_time == seconds


@pytest.mark.parametrize("typed", ["soon", "", "m", "-5", 0])
def test_a_span_of_time_that_is_none_is_refused(typed: Any) -> None:
    with pytest.raises(ValueError, match="max_time"):
        TrainOptions(max_time=typed)


@pytest.mark.parametrize(("interval", "steps", "found"), [(0.1, 300, 30), (0.5, 1, 1), (50, 20, 50), (1, 9, 1)])
def test_an_interval_below_one_is_a_fraction_of_all_steps(interval: float, steps: int, found: int) -> None:
    assert every(interval, steps) == found


def test_steps_of_rows() -> None:
    assert TrainRecipe(batch_size=16, epochs=3).steps(151) == (30, 10)
    assert TrainRecipe(batch_size=16, max_steps=7).steps(151) == (7, 10)
