"""A text of any of the three formats becomes its author's words under its headings; the rest is counted."""

from __future__ import annotations

import time
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from twinctl.data.documents import Document, Section, read_document
from twinctl.errors import ConfigError

Format = Literal["md", "html", "txt"]

POST = """---
title: "Of Bats \\u2013 and *Biscuit*"   # the second one
date: 2024-03-01
tags:
  - sea
  - bats
---

It began with a [bat](https://example.org/bat), and *nobody* knew `why`. It was
wrapped here.[^1]

![A bat](bat.jpg)

<!-- more -->

## What it eats {#food}

- Biscuits, **plain**
- Candles:
  - of wax
  - of tallow

1. Catch it.
1. Let it go.

```python
bat.feed()
```

    bat.sleep()

{% highlight ruby %}
# Not a heading
{% endhighlight %}

{{< figure src="bat.png" title="A bat" >}}

| day | bats |
| --- | --- |
| one | 2 |

> I have never
> met one.

See [the log]({% post_url 2024-01-01-log %}) and [[Bats|the bats]].
{: .note}

<div class="aside"><p>Words in <b>HTML</b>.</p></div>

[^1]: A note.
"""

PAGE = """<!DOCTYPE html><html><head><title>The Lamp &amp; I | Josiah's</title>
<style>p { color: red }</style></head>
<body class="has-sidebar"><script>track()</script>
<header><h1>Josiah's</h1><p>A light in the dark</p></header>
<nav><ul><li>Home</li></ul></nav>
<div class="breadcrumbs">Home &gt; Posts</div>
<main><article class="post comments-open">
  <header><h1>The Lamp &amp; I</h1></header><p class="post-meta">By J. on Friday</p>
  Bare words<br>in two lines.
  <p>It   was <em>dark</em>, said <a href="/k">the keeper</a>&nbsp;— “very”.<sup><a href="#fn1">1</a></sup></p>
  <h2>At sea <a class="headerlink" href="#s">¶</a></h2>
  <ul><li>Salt<ul><li>white</li></ul></li><li><p>Ropes</p><p>and tar</p></li></ul>
  <ol><li>Up</li><li>Down</li></ol>
  <blockquote><p>All hands!</p><footer>The captain</footer></blockquote>
  <pre><code>ls</code></pre>
  <figure><img src="a.png"><figcaption>A lamp</figcaption></figure>
  <table><tr><td>1</td><td>2</td></tr></table>
  <div class="share-buttons"><a href="#">Tweet</a></div>
  <aside>By the way</aside><form><input><label>Mail</label></form><iframe src="x"></iframe>
  <section class="related-posts"><h2>You may like</h2></section>
</article></main>
<div id="comments"><p>First!</p></div>
<footer>© Josiah</footer></body></html>"""


def _read(text: str, format: Format = "md", title: str = "") -> Document:
    return read_document(text, format, title)


def _body(text: str, format: Format = "md") -> list[str]:
    return [line for section in _read(text, format).sections for line in (section.heading, *section.paragraphs) if line]


def test_a_post_becomes_its_authors_words_under_its_headings() -> None:
    first, food = _read(POST).sections
    assert first == Section("", ("It began with a bat, and nobody knew why. It was wrapped here.",))
    assert food == Section(
        "What it eats",
        (
            "- Biscuits, plain\n- Candles:\n  - of wax\n  - of tallow",
            "1. Catch it.\n2. Let it go.",
            "> I have never met one.",
            "See the log and the bats.",
            "Words in HTML.",
            "A note.",
        ),
    )


@pytest.mark.parametrize(
    ("text", "format", "reason"),
    [
        (f"&#{'1' * 5000};", "html", "4300 digits"),
        (f"Words\n\n<div title='&#{'1' * 5000};'>x</div>", "md", "4300 digits"),
        (f"---\ntitle: <p title='&#{'1' * 5000};'>\n---\nWords", "md", "4300 digits"),
        (f"{'*' * 3000}a{'*' * 3000}", "md", "nested too deeply"),
    ],
)
def test_what_a_parser_rejects_is_a_fault_of_the_text(text: str, format: Format, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        _read(text, format)
    assert "--skip-bad" in caught.value.hint


@pytest.mark.parametrize("rejected", ["<![foo[ x", "<![ x", "<p>a</p><![if<"])
def test_a_marked_section_is_read_or_is_a_fault_of_the_text(rejected: str) -> None:
    """Python's parser rejected most until 3.13: its AssertionError must not come out."""
    try:
        assert "Words" in _body(f"<p>Words</p>{rejected}", "html")
    except ConfigError as error:
        assert error.message.startswith("its HTML cannot be parsed: ") and "\n" not in error.message


def test_what_a_post_has_beside_words_is_counted() -> None:
    document = _read(POST, title="a file name")
    assert document.title == "Of Bats – and Biscuit" and document.titled
    assert document.removed == {
        "front matter": 1,
        "link": 3,
        "footnote": 1,
        "image": 1,
        "html": 1,
        "code block": 3,
        "shortcode": 1,
        "table": 1,
    }


def test_a_saved_page_becomes_its_article() -> None:
    document = _read(PAGE, "html")
    assert document.title == "The Lamp & I"
    assert document.sections == (
        Section(
            "", ("Bare words\nin two lines.", "It was dark, said the keeper\xa0— “very”.")
        ),
        Section(
            "At sea",
            ("- Salt\n  - white\n- Ropes\n  and tar\n1. Up\n2. Down", "> All hands!", "> The captain"),
        ),
    )  # fmt: skip
    assert document.removed == {
        "navigation": 9,
        "footnote": 1,
        "code block": 1,
        "image": 1,
        "caption": 1,
        "table": 1,
        "form": 1,
        "embedded": 1,
        "link": 1,
    }


# Titles


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("---\ntitle: A plain one # why\n---\n", "A plain one"),
        ("---\nlayout: post\ntitle:  'It''s a: title'\n---\n", "It's a: title"),
        ("---\ntitle: >-\n  Two\n  lines\n---\n", "Two lines"),
        ("---\nTitle: C#\n...\n", "C#"),
        ('+++\ndraft = true\ntitle = "Of \\"Toml\\""\n+++\n', 'Of "Toml"'),
        ("\ufeff---\r\ntitle: Windows\r\n---\r\n", "Windows"),
    ],
)
@pytest.mark.parametrize("format", ["md", "txt", "html"])
def test_front_matter_gives_the_title_and_is_taken_out(front: str, title: str, format: Format) -> None:
    document = _read(f"{front}\nThe words.", format, "given")
    assert (document.title, document.removed) == (title, {"front matter": 1})
    assert document.sections == (Section("", ("The words.",)),)


@pytest.mark.parametrize("text", ["---\n\nWords between rules.\n\n---\n\nMore.", "---\nOnly one", "---\n---\n"])
def test_rules_are_no_front_matter(text: str) -> None:
    assert _read(text).removed == {}


def test_the_title_is_the_front_matters_then_the_texts_then_the_files_then_the_first_words() -> None:
    assert _read("---\ntitle: Front\n---\n# Own\n\nWords.", title="File").title == "Front"
    assert _read("Before.\n\n# Own\n\nWords.", title="File").title == "Own"
    assert _read("## Part\n\nWords.", title="File").title == "File"
    assert _read("## Part\n\nWords.", title="2024 03 01 A day at sea").title == "A day at sea"
    assert _read("- One two three four five six seven, eight nine").title == "One two three four five six seven, eight…"
    assert [_read(text, title="x").titled for text in ("# Own", "Words.")] == [True, False]
    assert _read("", title="").title == ""


def test_the_title_heads_no_section() -> None:
    assert _read("Before.\n\n# Own\n\nWords.\n\n# Next\n\nMore.").sections == (
        Section("", ("Before.", "Words.")),
        Section("Next", ("More.",)),
    )
    assert _read("---\ntitle: own\n---\n## Own\n\nWords.").sections == (Section("", ("Words.",)),)


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>Of bats | A site</title>", "<h1>A site</h1><h2>Of bats</h2>", "Of bats"),
        ("<title>Of bats | A site</title>", "<h1>All of\n bats</h1>", "All of bats"),
        ("<title>Of bats</title>", "<h1>One</h1><h1>Two</h1>", "Of bats"),
        ("<title>Bats - A site</title><meta property='og:title' content='Bats'>", "", "Bats"),
        ("", "<h2>Part</h2>", "given"),
    ],
)
def test_a_page_s_title_is_the_heading_that_its_head_says(head: str, body: str, title: str) -> None:
    assert _read(f"<head>{head}</head><body>{body}<p>Words.</p></body>", "html", "given").title == title


# Markdown


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("Setext\n---\n\nText", ["Setext", "Text"]),
        ("a  \nb\\\nc", ["a\nb\nc"]),
        ("*a* __b__ ~~c~~ \\*d\\* &amp; <https://e.org>", ["a b c *d* & https://e.org"]),
        ("snake_case_name 2 * 3 * 4", ["snake_case_name 2 * 3 * 4"]),
        ("中文\n中文", ["中文中文"]),
        ("한국\n어", ["한국 어"]),
        ("A [^a-z] class and `{% raw %}` and `[[x]]`", ["A [^a-z] class and {% raw %} and [[x]]"]),
        ("$x_{:t}$ \\frac{.5}{2} [[1, 2], [3]] {{ x }}", ["$x_{:t}$ \\frac{.5}{2} [[1, 2], [3]] {{ x }}"]),
        ("> a\n>\n> - b\n> - c\n\n> ![d](d.png)", ["> a", "> - b\n> - c"]),
        ("- a\n\n  b\n\n- ![c](c.png)", ["- a\n  b"]),
        ("7. a\n8. b", ["7. a\n8. b"]),
        ("a <!-- b --> <img src=c><br>d", ["a\nd"]),
        ("#\n\n## ![x](y)\n\na", ["a"]),
        ("[ref][1] ![[a.png]]\n\n[1]: https://e.org", ["ref"]),
        ("<p>One\n<p>Two\n\n<script>no()</script>", ["One", "Two"]),
    ],
)  # fmt: skip
def test_markup_goes_and_words_stay(source: str, words: list[str]) -> None:
    assert _body(source) == words


# HTML


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<div>a<p>b</p>c<span>d</span></div>e", ["a", "b", "cd", "e"]),
        ("<p>One<p>Two<p>Three", ["One", "Two", "Three"]),
        ("a<br><br>b<br>c", ["a", "b\nc"]),
        ("<ul><li>a<li>b</ul><li>c", ["- a\n- b\n  c"]),
        ("<dl><dt>a</dt><dd>b</dd></dl>", ["a", "b"]),
        ("<form action=/page><h1>T</h1><article>a<p>b</article></form>", ["a", "b"]),
        ("<p>press <kbd>a</kbd>, <code>b</code> &lt;c&gt;</p><!-- d -->", ["press a, b <c>"]),
        ("<table><tr><td><p>" + "word " * 50 + "</td><td>x</td></tr></table>", [("word " * 50).strip(), "x"]),
        ("<html><head><title>a</title><body><p>b", ["b"]),
        ("<p>a <span class=menu>menu</span><h2 id=share>Share</h2><p class=related-work>b", ["a menu", "Share", "b"]),
        ("<div class='sidebar-left'><h1>a</h1><p>b</p><div id=sidebar>c</div></div>", ["b"]),
        ("<article>" + "long " * 9 + "</article><article>teaser</article>", [("long " * 9).strip()]),
        ("<article>one two</article><article>two one</article>", ["one two", "two one"]),
        ("<main><div>" + "long " * 9 + "</div><article>teaser</article></main>", [("long " * 9).strip(), "teaser"]),
        ("no tags < at all & so", ["no tags < at all & so"]),
    ],
)  # fmt: skip
def test_a_page_s_words_stay_where_they_stand(source: str, words: list[str]) -> None:
    assert _body(source, "html") == words


@pytest.mark.parametrize(
    "name",
    [
        *(
            "nav",
            "main-nav",
            "navbar",
            "menu",
            "relatedPosts",
            "sidebar",
            "post-breadcrumbs",
            "comments",
            "comment-list",
        ),
        *("share-buttons", "social-share", "sharedaddy", "cookie-banner", "related-posts", "pagination", "post-meta"),
    ],
)
def test_what_calls_itself_navigation_is_taken_out(name: str) -> None:
    for attribute in (f"class='x {name}'", f"id={name}"):
        document = _read(f"<h1>T</h1><p>Words.</p><div {attribute}>Not <b>mine</b></div>", "html")
        assert document.sections == (Section("", ("Words.",)),)
        assert document.removed == {"navigation": 1}


@pytest.mark.parametrize(
    "name", ["has-sidebar", "comments-open", "related-work", "menu-bistro", "content", "market-share"]
)
def test_what_only_mentions_navigation_stays(name: str) -> None:
    assert _body(f"<div class={name}>Words.</div>", "html") == ["Words."]


# Plain text


def test_plain_text_is_paragraphs_between_blank_lines() -> None:
    text = "One line\nwrapped by hand.\n \n\n  Two *stars* and [brackets](x).\n\nShort\n\n- a\n- b\n"
    assert _body(text, "txt") == ["One line\nwrapped by hand.", "Two *stars* and [brackets](x).", "Short", "- a\n- b"]


def test_plain_text_s_headings_are_underlined_or_numbered_chapters() -> None:
    text = "My Life\n=======\nIt began.\n\nThe Sea\n-------\n\nSalt.\n\nBest,\n---\nJ.\n\nA b c d e f g h i j k\n---\n"
    assert _read(text, "txt").title == "My Life"
    assert [section.heading for section in _read(text, "txt").sections] == ["", "The Sea"]
    chapters = (
        "Chapter 1\n\nA.\n\nChapter Two: The Sea\n\nB.\n\nIII.\n\nC.\n\nKapitel 4 – Ende\n\nD.\n\n第五章 海\n\nE."
    )
    assert [section.heading for section in _read(chapters, "txt").sections] == [
        "Chapter 1", "Chapter Two: The Sea", "III.", "Kapitel 4 – Ende", "第五章 海",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["Chapter 1\n\nA.", "I\n\nYes, I.", "A Short Line\n\nWords.\n\nAnother\n\nMore.",
                                  "Book I read\n\nA.\n\nPart of me\n\nB.", "1.\n\nA\n\n2.\n\nB"])  # fmt: skip
def test_a_short_line_is_no_heading_by_itself(text: str) -> None:
    assert [section.heading for section in _read(text, "txt").sections] == [""]


# All formats


@given(st.text(st.sampled_from("ab é中ا😀.!?,\n-'"), max_size=80))
def test_plain_text_loses_no_character(text: str) -> None:
    assume("---" not in text)
    assert "".join("".join(_body(text, "txt")).split()) == "".join(text.split())


WORDS = st.text(st.sampled_from("abcé中ا😀"), min_size=1, max_size=8)
MARKDOWN = ["{} ", "*{}* ", "**{}** ", "[{}](x) ", "{}\n\n", "\n\n## {}\n\n", "\n\n> {}\n\n", "\n\n- {}\n\n"]
HTML = ["{} ", "<b>{}</b> ", "<p>{}</p>", "<h2>{}</h2>", "<ul><li>{}</ul>", "<div>{} ", "{}<br>", "<blockquote>{} "]


@pytest.mark.parametrize(("forms", "format"), [(MARKDOWN, "md"), (HTML, "html")])
@given(data=st.data())
def test_marked_up_words_come_out_in_their_order(forms: list[str], format: Format, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(forms), WORDS), max_size=20))
    read = " ".join(_body("".join(form.format(word) for form, word in pairs), format)).split()
    assert [word for word in read if word not in ("-", ">")] == [word for _, word in pairs]


@given(st.text(max_size=200), st.sampled_from(["md", "html", "txt"]))
def test_any_text_has_a_document_and_always_the_same(text: str, format: Format) -> None:
    document = _read(text, format)
    assert document == _read(text, format)
    assert all(paragraph.strip() for section in document.sections for paragraph in section.paragraphs)


@pytest.mark.parametrize("format", ["md", "html", "txt"])
def test_a_long_line_takes_no_time(format: Format) -> None:
    began = time.monotonic()
    _read("Some words, e.g. these. And “others”? " * 25_000, format)  # 1 MB
    assert time.monotonic() - began < 10


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["half a \ud800 pair", "page.html", "https://e.org", "<?xml version='1.0'?><p>a</p>"])
def test_odd_pages_are_read_in_silence(text: str) -> None:
    assert len(_body(text, "html")) == 1


def test_a_page_that_closes_nothing_is_read() -> None:
    assert len(_read("<p>One <b>two" * 1500, "html").sections[0].paragraphs) == 1500
