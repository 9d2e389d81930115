"""A card that a person edited: what they wrote, changed or took out outlives every later push."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.written_records import RecordedRun
from twinctl.errors import ConfigError
from twinctl.publishing import merge_with_existing
from twinctl.publishing.user_edits import Parts, composed

DATA: dict[str, Any] = {"library_name": "peft", "license": "mit", "tags": ["twinctl"]}


def card(values: dict[str, Any] | None = None, /, **sections: str) -> str:
    return composed(
        "my-twin", DATA if values is None else values, sections or {"about": "A twin.", "data": "Ten rows."}
    )


def values(text: str) -> dict[str, Any]:
    return Parts.of(text).data


def test_the_first_push_sends_the_card_as_it_is(recorded_run: RecordedRun) -> None:
    new = recorded_run.card("adapter").text
    assert merge_with_existing("", new) == merge_with_existing("\n", new) == new


@pytest.mark.parametrize("kind", ["adapter", "model", "gguf"])
def test_an_untouched_card_stays_to_the_byte(recorded_run: RecordedRun, kind: str) -> None:
    new = recorded_run.card(kind).text
    assert merge_with_existing(new, new) == new


def test_an_untouched_card_becomes_the_new_one() -> None:
    new = card({**DATA, "license": "apache-2.0", "language": ["en"]}, about="A twin.", data="Twenty rows.", loss="Low.")
    assert values(merge_with_existing(card(), new)) == values(new)
    assert merge_with_existing(card(), new) == new


def test_text_around_the_sections_stays_and_the_sections_are_new() -> None:
    old = card().replace("# my-twin", "# Jane, but tireless\n\nThank you for coming.")
    old = old.replace("<!-- twinctl:begin data -->", "A word of mine.\n\n<!-- twinctl:begin data -->")
    merged = merge_with_existing(old, card(about="Another twin.", data="Twenty rows."))
    assert "# Jane, but tireless\n\nThank you for coming." in merged and "A word of mine." in merged
    assert "# my-twin" not in merged
    assert "Another twin." in merged and "Twenty rows." in merged and "Ten rows." not in merged


def test_edits_live_through_two_more_renders(recorded_run: RecordedRun) -> None:
    first = recorded_run.card("adapter").text
    edited = first.replace("\n# my-twin\n", "\n# Ours\n\nHello.\n").replace(
        "tags:", "thumbnail: me.png\ntags:\n- poetry"
    )
    recorded_run.metrics["eval_loss"] = 1.11
    second = merge_with_existing(edited, recorded_run.card("adapter").text)
    recorded_run.metrics["eval_loss"] = 0.99
    third = merge_with_existing(second, recorded_run.card("adapter").text)
    for text in (second, third):
        assert "# Ours\n\nHello." in text and values(text)["thumbnail"] == "me.png" and "poetry" in values(text)["tags"]
    assert "1.11" in second and "0.99" in third and "1.11" not in third
    assert merge_with_existing(third, recorded_run.card("adapter").text) == third


def test_a_section_that_was_taken_out_stays_out() -> None:
    old = card()
    start, end = old.index("<!-- twinctl:begin data"), old.index("end data -->") + len("end data -->\n")
    once = merge_with_existing(old[:start] + old[end:], card(about="New.", data="Twenty rows."))
    assert "rows" not in once and "New." in once
    assert "rows" not in merge_with_existing(once, card())


def test_a_section_that_is_new_comes_behind_the_one_before_it() -> None:
    merged = merge_with_existing(card() + "\nMy last words.\n", card(about="A.", use="Like this.", data="B."))
    assert merged.index("A.") < merged.index("Like this.") < merged.index("B.") < merged.index("My last words.")


def test_a_section_that_there_is_no_more_goes() -> None:
    merged = merge_with_existing(card(about="A.", parity="Old numbers."), card(about="A."))
    assert "Old numbers" not in merged and "twinctl:begin parity" not in merged


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ({"license": "cc-by-nc-4.0"}, {"license": "cc-by-nc-4.0"}),
        ({"thumbnail": "a.png"}, {"thumbnail": "a.png", "license": "apache-2.0"}),
        ({"license": None}, {"license": None}),
        ({"tags": ["twinctl", "mine"]}, {"tags": ["twinctl", "mine"]}),
        ({}, {"license": "apache-2.0", "library_name": "transformers"}),
    ],
)
def test_a_value_that_a_person_changed_is_theirs_and_another_is_ours(
    edit: dict[str, Any], found: dict[str, Any]
) -> None:
    import yaml

    data = {name: value for name, value in {**DATA, **edit}.items() if value is not None}
    old = Parts.of(card())
    changed = Parts(yaml.safe_dump(data), data, old.body, old.sections, old.values).text()
    new = card({**DATA, "license": "apache-2.0", "library_name": "transformers"}, about="A.", data="B.")
    for merged in (merge_with_existing(changed, new), merge_with_existing(merge_with_existing(changed, new), new)):
        assert {name: values(merged).get(name) for name in found} == found


def test_a_licence_stays_whole() -> None:
    ours = {**DATA, "license": "other", "license_name": "llama", "license_link": "https://x.example"}
    old = card(ours).replace("license: other", "license: mit").replace("license_name: llama\n", "")
    old = old.replace("license_link: https://x.example\n", "")
    merged = values(merge_with_existing(old, card(ours)))
    assert merged["license"] == "mit" and "license_name" not in merged and "license_link" not in merged


def test_another_s_card_is_kept_whole_and_ours_comes_below() -> None:
    old = "---\nlicense: cc0-1.0\nlibrary_name: keras\nco2: 3\n---\n# By hand\n\nMy own words.  \n"
    merged = merge_with_existing(old, card())
    assert merged.index("# By hand\n\nMy own words.") < merged.index("A twin.") < merged.index("Ten rows.")
    assert values(merged) == {"license": "cc0-1.0", "library_name": "peft", "co2": 3, "tags": ["twinctl"]}
    assert merge_with_existing(merged, card()) == merged


def test_yaml_that_nothing_changes_keeps_its_comments() -> None:
    old = card().replace("license: mit", "license: mit  # as my sister said")
    assert "# as my sister said" in merge_with_existing(old, card(about="New.", data="New."))


def test_a_mark_without_its_other_half_swallows_nothing() -> None:
    old = card().replace("<!-- twinctl:end about -->", "")
    merged = merge_with_existing(old, card(about="New.", data="Twenty rows."))
    assert "A twin." in merged and "Twenty rows." in merged and "Ten rows." not in merged


def test_windows_line_ends_stay() -> None:
    old = card().replace("\n", "\r\n")
    merged = merge_with_existing(old, card(about="New.", data="B."))
    assert "New." in merged and "\n" not in merged.replace("\r\n", "")


@pytest.mark.parametrize("yaml", ["license: [", "- a\n- b", "{{ x }}"])
def test_yaml_that_is_none_is_named(yaml: str) -> None:
    with pytest.raises(ConfigError, match="metadata"):
        merge_with_existing(f"---\n{yaml}\n---\n# Hi\n", card())


@pytest.mark.parametrize("ledger", ["{}", '{"sections": 3}', '{"sections": [], "yaml": "x"}', "{broken}"])
def test_a_hidden_line_that_was_edited_is_as_none(ledger: str) -> None:
    old = card()
    merged = merge_with_existing(old[: old.rindex("<!--")] + f"<!-- twinctl:wrote {ledger} -->\n", card(about="New."))
    assert merged.count("New.") == 1 and merged.count("twinctl:wrote") == 1


@given(st.text(alphabet="ab \n#<>!-`|~*", max_size=60), st.text(alphabet="ab \n#<>!-`|~*", max_size=60))
def test_whatever_stands_around_stays(before: str, after: str) -> None:
    old = card()
    head = old.index("---\n", 4) + 4
    start, end = old.index("<!-- twinctl:begin about"), old.index("\n<!-- twinctl:wrote")
    edited = old[:head] + before + "\n" + old[start:end] + after + "\n" + old[end:]
    merged = merge_with_existing(edited, card(about="New one.", data="B."))
    assert before.strip() in merged and after.strip() in merged and "New one." in merged
    assert merge_with_existing(merged, card(about="New one.", data="B.")) == merged
