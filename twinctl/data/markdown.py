"""Markdown as blocks, through markdown-it (CommonMark and tables), with what Hugo, Jekyll, Pandoc and Obsidian add.

What must stay true: the words come out as they were written, without the marks around them; code blocks, tables and
images are left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from twinctl.data.html import Block, read_fragment

LEFT_OUT = {"fence": "code block", "code_block": "code block", "table": "table"}
# Jekyll's and Hugo's code blocks are no Markdown, and what is in them must not be read as Markdown.
_HIGHLIGHT = re.compile(
    r"^\{%-?\s*highlight\b.*?^\{%-?\s*endhighlight\b.*?%\}|^\{\{[<%]\s*highlight\b.*?^\{\{[<%]\s*/\s*highlight.*?\}\}",
    re.DOTALL | re.MULTILINE,
)
# CommonMark takes no spaces in a link's target: [a post]({% post_url 2024-01-01-a-post %})
_LIQUID_TARGET = re.compile(r"(?<=\]\()\s*\{[{%][^)\n]*(?=\))")
# Inline marks beyond CommonMark: the kind that each counts as, and what stays of it.
_BEYOND = (
    ("shortcode", "", re.compile(r"\{%.{0,500}?%\}|\{\{[<%].{0,500}?[>%]\}\}", re.DOTALL)),
    ("", "", re.compile(r"(?<![\w\\^}])\{(?::[\s.#a-z]|[#.][a-zA-Z])[^{}\n]{0,200}\}")),
    ("", "\n", re.compile(r"(?<![^\n])\[\^[^\]\s]{1,60}\]:[ \t]*")),
    ("footnote", "", re.compile(r"\[\^(?P<note>[^\]\s]{1,60})\]")),
    ("image", "", re.compile(r"!\[\[[^\[\]\n]{1,200}\]\]")),
    ("link", r"\1", re.compile(r"\[\[(?:[^\[\]|\n]{1,200}\|)?([^\[\]|\n]{1,200})\]\]")),
)
# A note's mark is one only where there is the note: [^a-z] is not.
_NOTE = re.compile(r"^\[\^([^\]\s]{1,60})\]:", re.MULTILINE)
# Inline tags: what each counts as, and what stays of it.
_TAGS = (("image", "", "<img"), ("link", "", "<a "), ("html", "", "<!--"), ("", "\n", "<br"))
# These scripts have no spaces between words, so a line's end in them stands for none. (Korean has.)
_SPACELESS = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")


def read_markdown(source: str, removed: Counter[str]) -> list[Block]:
    """The text's headings, paragraphs, lists (as lines "- item") and quotes (as lines "> words")."""
    text, blocks = _HIGHLIGHT.subn("", source)
    removed.update({"code block": blocks} if blocks else {})
    notes = set(_NOTE.findall(text))
    tokens = _PARSER.parse(_LIQUID_TARGET.sub("#", text), {NOTES: notes})
    return list(_blocks(SyntaxTreeNode(tokens), removed))


def _blocks(parent: SyntaxTreeNode, removed: Counter[str]) -> Iterator[Block]:
    for node in parent.children:
        if node.type in LEFT_OUT:
            removed[LEFT_OUT[node.type]] += 1
        elif node.type in ("paragraph", "heading"):
            text = "".join(_words(node.children[0], removed)).strip()
            yield int(node.tag[1]) if node.type == "heading" else 0, re.sub(r"[ \t]*\n[ \t]*", "\n", text)
        elif node.type in ("bullet_list", "ordered_list"):
            yield 0, "\n".join(filter(None, _items(node, removed)))
        elif node.type == "blockquote":
            for _, text in _blocks(node, removed):
                yield 0, text and "> " + text.replace("\n", "\n> ")
        elif node.type == "html_block":
            # It has the author's words as well, above all in posts that were brought over from elsewhere.
            blocks = read_fragment(node.content, removed)
            removed.update({} if blocks else {"html": 1})
            yield from blocks


def _items(node: SyntaxTreeNode, removed: Counter[str]) -> Iterator[str]:
    """The items as lines, numbered as a reader sees them."""
    for number, item in enumerate(node.children, int(node.attrs.get("start", 1))):
        mark = f"{number}." if node.type == "ordered_list" else "-"
        text = "\n".join(text for _, text in _blocks(item, removed) if text)
        yield text and f"{mark} {text}".replace("\n", "\n  ")


def _words(inline: SyntaxTreeNode, removed: Counter[str]) -> Iterator[str]:
    last = ""
    for token in (inline.token and inline.token.children) or []:
        kind, last = _read(token, last)
        if kind:
            removed[kind] += 1
        yield last


def _read(token: Token, before: str) -> tuple[str, str]:
    """What the token counts as ("" for words), and the words in it."""
    if token.type == "softbreak":
        return "", "" if _SPACELESS.match(before[-1:]) else " "
    if token.type == "html_inline":
        meanings = (tag[:2] for tag in _TAGS if token.content.lower().startswith(tag[2]))
        return next(meanings, ("", ""))
    kinds = {"image": ("image", ""), "link_open": ("link", ""), "hardbreak": ("", "\n")}
    return kinds.get(token.type, (token.info if token.type == BEYOND else "", token.content))


def _beyond(state: StateInline, silent: bool) -> bool:
    """markdown-it's rule for the marks beyond CommonMark; as a rule it leaves code alone."""
    if state.src[state.pos] not in "{[!":
        return False
    for kind, stays, pattern in _BEYOND:
        mark = pattern.match(state.src, state.pos)
        if mark and mark.groupdict().get("note", "") in ("", *state.env[NOTES]):
            if not silent:
                token = state.push(BEYOND, "", 0)
                token.info, token.content = kind, mark.expand(stays)
            state.pos = mark.end()
            return True
    return False


BEYOND, NOTES = "beyond", "notes"
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_PARSER.inline.ruler.before("escape", BEYOND, _beyond)
