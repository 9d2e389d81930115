"""The topics of the manual and their pages.

What must stay true: every page of this folder is a topic and every topic has a page; a page's first line is its title.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
# In the order in which they are read.
TOPICS = (
    "quickstart",
    "prepare",
    "train",
    "chat",
    "export",
    "push-and-pull",
    "data-formats",
    "workspace",
    "settings",
    "exit-codes",
    "troubleshooting",
    "recipes",
    "faq",
    "benchmarks",
    "comparison",
    "python-api",
    "architecture",
)


def page_text(topic: str) -> str:
    """The topic's page as Markdown."""
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def title_of(topic: str) -> str:
    """The page's title: its first line without the heading mark."""
    return page_text(topic).partition("\n")[0].removeprefix("# ")
