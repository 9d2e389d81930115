"""HTML as blocks, through Beautiful Soup: the article of a page, without what stands around it.

What must stay true: what is taken out for navigation says of itself that it is; text that is in no element of its own
is kept as a paragraph; the page is walked without recursion, for pages that close no paragraph nest thousands deep.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
from bs4.builder import ParserRejectedMarkup
from bs4.element import NavigableString, Tag

from twinctl.errors import ConfigError

# A heading's level and text; 0 is a paragraph.
Block = tuple[int, str]
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
BLOCK = re.compile(
    r"\[document\]|address|article|aside|blockquote|body|caption|center|dd|details|div|dl|dt|fieldset|figure|footer|h[1-6]"
    r"|header|hgroup|hr|html|legend|li|main|ol|p|section|summary|table|tbody|td|tfoot|th|thead|tr|ul"
)
# No words of anybody's, or the same words a second time (formulas, links that only screen readers show).
UNREAD = "title, script, style, noscript, template, svg, span[aria-hidden=true], a[aria-hidden=true], a.headerlink"
NAVIGATION = "nav, aside, footer, header, dialog, [role=navigation], [role=complementary], [role=search], [class], [id]"
LEFT_OUT = {
    "pre": "code block",
    "form:not(:has(h1, article, main)), button, select, textarea": "form",
    "iframe, object, embed, video, audio, canvas": "embedded",
    "figcaption": "caption",
    "img": "image",
    'sup:has(a[href^="#"]), a[role=doc-backlink], a[class*=backref], a[class*=reversefootnote]': "footnote",
}
WORDLESS = ("embedded", "image")
CONTAINERS = ("div", "section", "article", "ul", "ol", "li", "dl", "p", "table")
# A name says navigation when all its words are of these, and one of the first: “related-posts”, not “related-work”.
_NAVIGATION = re.compile(
    r"nav(?:bar|igation)?|(?:sub)?menu|sidebar|breadcrumbs?|comments?|shar(?:e|ing|edaddy)|cookies?|related|pag(?:er|ination)"
    r"|toc|subscribe|subscription|newsletter|(?:post)?meta|byline|tags|footer|colophon"
)
_BESIDE = re.compile(
    r"site|page|posts?|entry|articles?|blog|main|primary|secondary|top|bottom|left|right|global|header|lists?|links?"
    r"|buttons?|bar|banner|section|area|container|wrap(?:per)?|box|blocks?|widgets?|inner|content|body|media|social|icons?"
    r"|items?|group|js|wp|jp|mobile|form|respond|notice|consent|popup|modal|panel|tree|trail|signup|this"
)
FIX = "fix the markup there, or leave such texts out: --skip-bad"
# A table with a cell this long lays out a page; others hold data.
PROSE = 200


def read_html(source: str, removed: Counter[str]) -> tuple[list[Block], str]:
    """The page's headings, paragraphs, lists (as lines "- item") and quotes (as lines "> words"), and its title, ""
    when that is for its headings to say. Raises ConfigError for markup that the parser rejects.
    """
    soup = _soup(source)
    card = soup.select_one("meta[property='og:title'][content]")
    stated = str(card["content"]) if card else soup.title.get_text() if soup.title else ""
    _drop(soup.select(UNREAD))
    _drop([tag for tag in soup.select(NAVIGATION) if _is_navigation(tag)], "navigation", removed)
    blocks = [block for root in _articles(soup, removed) for block in _read(root, removed)]
    return blocks, _title(blocks, " ".join(stated.split()))


def read_fragment(source: str, removed: Counter[str]) -> list[Block]:
    """The blocks of HTML inside another text. Raises ConfigError for markup that the parser rejects."""
    soup = _soup(source)
    _drop(soup.select(UNREAD))
    return _read(soup, removed)


def _soup(source: str) -> BeautifulSoup:
    with warnings.catch_warnings():  # that a page begins like XML is nobody's concern, nor, without a line's end, that
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)  # a short one is like a file's name
        try:
            return BeautifulSoup(source + "\n", "html.parser")
        except (ParserRejectedMarkup, ValueError) as error:  # ValueError: &#1…; of thousands of digits
            reason = str(error).splitlines()[-1].removeprefix(" AssertionError: ").partition(";")[0]
            raise ConfigError(f"its HTML cannot be parsed: {reason}", FIX) from error


def _title(blocks: list[Block], stated: str) -> str:
    """The heading that stands in what the page's head says (“The post | The site”), else its one heading of level 1."""
    headings = [(level, " ".join(text.split())) for level, text in blocks if level in (1, 2)]
    own = [text for _, text in headings if text.casefold() in stated.casefold()]
    if own:
        return max(own, key=len)
    return "" if [level for level, _ in headings].count(1) == 1 else stated


def _drop(tags: list[Tag], kind: str = "", removed: Counter[str] | None = None) -> None:
    """Take the elements out, and count those in which there is something."""
    for tag in tags:
        if tag.decomposed:
            continue
        if removed is not None and (kind in WORDLESS or tag.get_text(strip=True)):
            removed[kind] += 1
        tag.decompose()


# Around the article


def _is_navigation(tag: Tag) -> bool:
    if tag.name in ("html", "body", "main"):
        return False
    if tag.name == "header":
        return tag.find_parent(["article", "main", "section"]) is None
    if tag.name == "footer":
        return tag.find_parent("blockquote") is None
    roles = ("navigation", "complementary", "search")
    if tag.name in ("nav", "aside", "dialog") or tag.get("role") in roles:
        return True
    # Whatever its name, what holds the page's title is no navigation: <div class="sidebar-right"> around a whole page.
    names = [*tag.get_attribute_list("class"), *tag.get_attribute_list("id")]
    return any(map(_says_navigation, names)) and tag.name in CONTAINERS and not tag.find(["h1", "main"])


def _says_navigation(name: str | None) -> bool:
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name or "")]
    others = [word for word in words if not _NAVIGATION.fullmatch(word)]
    return len(others) < len(words) and all(map(_BESIDE.fullmatch, others))


def _articles(soup: BeautifulSoup, removed: Counter[str]) -> list[Tag]:
    """What is to be read of a page: its main part, or the articles in it if most of its words are in them. The longest
    article alone if the others, which may be teasers, are shorter together.
    """
    main = soup.select_one("main, [role=main]")
    page = main or soup.body or soup
    sizes = {id(tag): len(tag.get_text()) for tag in (page, *page.find_all("article"))}
    articles = [article for article in page.find_all("article") if article.find_parent("article") is None]
    most = sum(sizes[id(article)] for article in articles)
    if not articles or (main and 2 * most < sizes[id(page)]):
        articles = [page]
    longest = max(articles, key=lambda article: sizes[id(article)])
    if 2 * sizes[id(longest)] > most:
        articles = [longest]
    read = sum(len("".join(article.get_text().split())) for article in articles)
    if len("".join(soup.get_text().split())) > read:
        removed["navigation"] += 1
    return articles


# Inside it


def _read(root: Tag, removed: Counter[str]) -> list[Block]:
    for selector, kind in LEFT_OUT.items():
        _drop(root.select(selector), kind, removed)
    _drop(_data_tables(root), "table", removed)
    links = sum(bool(link.get_text(strip=True)) for link in root("a", href=True))
    removed.update({"link": links} if links else {})
    return list(_blocks(root))


def _data_tables(root: Tag) -> list[Tag]:
    sizes: Counter[int] = Counter()
    for table in root("table"):
        for text in [] if table.find_parent("table") else table.find_all(string=True):
            sizes[id(next((tag for tag in text.parents if tag.name in ("td", "th")), table))] += len(text)
    cells = [cell for cell in root(["td", "th"]) if sizes[id(cell)] >= PROSE]
    layout = {id(parent) for cell in cells for parent in cell.parents}
    return [table for table in root("table") if id(table) not in layout]


def _blocks(root: Tag) -> Iterator[Block]:
    marks = dict(_marks(root))
    quoted = {id(tag) for quote in root("blockquote") for tag in (quote, *quote.find_all(True))}
    lines: list[str] = []
    for block, text in _texts(root):
        item = next((tag for tag in (block, block.parent) if tag and tag.name == "li"), None)
        if item:
            lines.append(marks.pop(id(item), "  ") + text)
            continue
        if lines:
            yield 0, "\n".join(lines)
            lines = []
        level = HEADINGS.index(block.name) + 1 if block.name in HEADINGS else 0
        yield level, "> " + text.replace("\n", "\n> ") if id(block) in quoted and not level else text
    if lines:
        yield 0, "\n".join(lines)


def _marks(root: Tag) -> Iterator[tuple[int, str]]:
    """What each list's item begins with, by the item's id."""
    numbers: Counter[int] = Counter()
    for item in root("li"):
        lists = [tag for tag in item.parents if tag.name in ("ul", "ol")]
        if lists:
            numbers[id(lists[0])] += 1
            mark = f"{numbers[id(lists[0])]}." if lists[0].name == "ol" else "-"
            yield id(item), f"{'  ' * (len(lists) - 1)}{mark} "


def _texts(root: Tag) -> Iterator[tuple[Tag, str]]:
    """The paragraphs in their order, each with the block element that it is in."""
    for _, group in groupby(_strings(root), key=lambda pair: id(pair[0])):
        pairs = list(group)
        text = re.sub(r" *\n *", "\n", re.sub(r" +", " ", "".join(string for _, string in pairs)))
        for paragraph in re.split(r"\n{2,}", text):
            if paragraph.strip():
                yield pairs[0][0], paragraph.strip()


def _strings(root: Tag) -> Iterator[tuple[Tag, str]]:
    for node in root.descendants:
        if isinstance(node, Tag) and node.name == "br":
            yield _block_around(node, root), "\n"
        elif type(node) is NavigableString:  # its subclasses are comments, declarations and the like
            yield _block_around(node, root), re.sub(r"[ \t\n\r\f]+", " ", node)


def _block_around(node: Tag | NavigableString, root: Tag) -> Tag:
    return next((tag for tag in node.parents if BLOCK.fullmatch(tag.name)), root)
