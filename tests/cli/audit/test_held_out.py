"""What is held out: never on both sides, and not moved by other rows."""

from __future__ import annotations

from pathlib import Path

from tests.support.audit import prepared_from, row_of
from tests.support.prepared import Prepare
from tests.support.stand_ins import rows, write_rows
from twinctl.data.tokens import EVAL, TRAIN


def test_one_prompt_is_never_on_both_sides(prepares: Prepare, home: Path) -> None:
    forms = [str, str.upper, str.title, "  {}\n".format, lambda text: text.replace(" ", "\t")]
    values = [row_of(form(f"question of {n}"), f"answer {k}, {n}") for n in range(30) for k, form in enumerate(forms)]
    prepared = prepared_from(prepares, home, values, "--eval-fraction", "0.4")
    sides: dict[str, set[str]] = {}
    for sample in prepared.samples:
        sides.setdefault(" ".join(sample.prompt.lower().split()), set()).add(sample.split)
    assert len(prepared.samples) == 150 and len(sides) == 30
    assert sorted(map(len, sides.values())) == [1] * 30
    assert set.union(*sides.values()) == {TRAIN, EVAL}


def test_a_prompt_of_the_author_and_a_general_one_are_on_one_side(prepares: Prepare, home: Path) -> None:
    """Also the one that is held out because chance has held out none."""
    write_rows(home / "general.jsonl", [row_of(row["instruction"], "Another answer.") for row in rows(9)])
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["general.jsonl"]\n')
    prepared = prepared_from(prepares, home, rows(9), "--eval-fraction", "1e-9")
    assert {(sample.role, sample.prompt) for sample in prepared.side(EVAL)} == {
        (role, prepared.side(EVAL)[0].prompt) for role in ("author", "general")
    }


def test_adding_rows_moves_no_other(prepares: Prepare, home: Path) -> None:
    few = prepared_from(prepares, home, rows(60))
    many = prepared_from(prepares, home, [*rows(30, "bay"), *rows(60), *rows(30, "moon")])
    sides = {sample.prompt: sample.split for sample in many.samples}
    assert {sample.prompt: sample.split for sample in few.samples}.items() <= sides.items()
    assert len(sides) == 120


def test_another_seed_holds_out_others(prepares: Prepare, home: Path) -> None:
    one, other = (prepared_from(prepares, home, rows(60), "--seed", seed) for seed in ("0", "1"))
    held_out = [{sample.prompt for sample in prepared.side(EVAL)} for prepared in (one, other)]
    assert held_out[0] != held_out[1]
    assert sorted(one.texts) == sorted(other.texts)
