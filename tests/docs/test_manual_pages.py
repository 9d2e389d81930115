"""The manual's pages agree with the code and with one another."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.manual_pages import (
    CONTRIBUTING,
    PAGES,
    README,
    ROOT,
    anchor,
    blocks,
    headings,
    inline_code,
    links,
    rows,
)
from twinctl import errors
from twinctl.docs.settings import MARKED, TABLES, page_of
from twinctl.docs.topics import FOLDER, TOPICS, page_text, title_of
from twinctl.verification.limits import LIMITS


def test_the_topics_are_the_pages() -> None:
    assert sorted(TOPICS) == sorted(path.stem for path in FOLDER.glob("*.md"))


@pytest.mark.parametrize("topic", TOPICS)
def test_every_page_begins_with_its_title(topic: str) -> None:
    assert page_text(topic).startswith(f"# {title_of(topic)}\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, part = link.partition("#")
        if name.startswith("http"):
            continue
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not part or part in map(anchor, headings(target)), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_names_a_path_of_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"(?:/work|/root|/home|/Users|/tmp|C:\\)[/\\]\w+", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    code = [*inline_code(page), *blocks(page, "bash")]
    named = {name for text in code for name in re.findall(r"(?:tests|\.ci|\.github)/[\w./-]*\w", text)}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_the_readme_leads_to_every_page_and_to_the_contributors_page() -> None:
    found = {(ROOT / link).resolve() for link in links(README) if not link.startswith("http")}
    assert {FOLDER / f"{topic}.md" for topic in TOPICS} | {CONTRIBUTING} <= found


def test_the_tables_of_the_settings_are_made_from_the_code() -> None:
    text = page_text("settings")
    assert sorted(MARKED.findall(text)) == sorted(TABLES)
    assert text == page_of(text), "rewrite them: uv run python -m twinctl.docs.settings"


def test_every_exit_code_is_explained() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BaseException)]
    codes = {str(each.exit_code) for each in kinds if issubclass(each, errors.TwinctlError)}
    for page in (README, FOLDER / "exit-codes.md"):
        named = [code for row in rows(page, "exit code") for code in row[0].split(", ")]
        assert sorted(named) == sorted({"0", *codes}), page.name


def test_the_limits_of_the_proof_are_those_of_the_code() -> None:
    named = {
        kind: (float(kl), float(share.removesuffix(" %")) / 100)
        for kinds, kl, share in (row for row in rows(FOLDER / "export.md", "kind") if len(row) == 3)
        for kind in kinds.split(", ")
    }
    assert named == {kind: (limit.kl, limit.top1) for kind, limit in LIMITS.items()}


@cache
def strings_of_the_code() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "twinctl").rglob("*.py")))


def test_every_hint_that_names_a_page_names_a_topic() -> None:
    named = re.findall(r"twinctl docs ([a-z-]+)", strings_of_the_code())
    assert "data-formats" in named
    assert set(named) <= set(TOPICS)


def test_every_message_that_is_explained_is_one_of_the_code() -> None:
    """Names and numbers in a quoted message are written as …; the words between them are fixed."""
    code = re.sub(r'"\s*\n\s*f?"', "", strings_of_the_code())
    quoted = [line[4:].strip("`") for line in page_text("troubleshooting").splitlines() if line.startswith("### ")]
    assert len(quoted) > 20
    for message in quoted:
        missing = [words for words in message.split("…") if words.strip(" :;,()“”") not in code]
        assert missing == [], message
