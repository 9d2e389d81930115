"""A talk's text is what transformers renders from the same Jinja text, and answers are where the template puts them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.families import FAMILIES, NASTY
from twinctl.data.shapes import MessagesRow, parse_row
from twinctl.data.template import PROBE, Message, Template, load_template, packaged, template_text
from twinctl.data.tokenizer import TextTokenizer
from twinctl.errors import ConfigError

BOS, EOS = "<s>", "</s>"
PLAIN = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWhat is fog?\n\n### Response:\nWeather that stayed."
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nSum up.\n\n### Input:\nA long tale.\n\n### Response:\nShort."
)


def turn(role: str, content: str, **more: str) -> Message:
    return {"role": role, "content": content, **more}


ASKED, ANSWERED = turn("user", "What is fog?"), turn("assistant", "Weather that stayed.")
TWICE = [ASKED, ANSWERED, turn("user", "And mist?"), turn("assistant", "Look it up.")]
WHOLE = [
    turn("system", "Be brief."),
    turn("user", "Sum up.", input="A long tale."),
    turn("assistant", "Look it up."),
    turn("tool", "tale: long"),
    turn("assistant", "Short."),
]
TALKS: dict[str, list[Message]] = {
    "one": [ASKED, ANSWERED],
    "twice": TWICE,
    "whole": WHOLE,
    "white space": [turn("user", "  a\n\n"), turn("assistant", "\n\tb \n")],
    "long": [turn(role, text) for text in NASTY for role in ("user", "assistant")],
    **{f"nasty {place}": [turn("user", text), turn("assistant", text)] for place, text in enumerate(NASTY)},
}
OURS = {
    "alpaca": list(FAMILIES),
    "chatml": ["qwen2", "qwen3", "smollm"],
    "llama3": ["llama3", "r1"],
    "model": [name for name, family in FAMILIES.items() if family.template],
}
PAIRS = [(name, family) for name, families in OURS.items() for family in families]


def _tokenizer(**changes: Any) -> TextTokenizer:
    """One that loads no file, with the marks of all our templates."""
    names = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", BOS, EOS]
    made: dict[str, Any] = {"backend": None, "eos": EOS, "eos_id": 6, "bos": BOS, "adds_bos": True, "vocabulary": 9}
    specials = {name: place for place, name in enumerate(names)}
    named = {"bos_token": BOS, "eos_token": EOS}
    return TextTokenizer(**{**made, "specials": specials, "named": named, **changes})


def _ours(name: str, **changes: Any) -> Template:
    return load_template(name, Path("nowhere"), _tokenizer(**changes))


def _own(folder: Path, text: str, **changes: Any) -> Template:
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    return load_template("model", folder, _tokenizer(**changes))


def _talk(**row: str) -> list[Message]:
    talk = parse_row(row, {}, "row")
    assert isinstance(talk, MessagesRow)
    return talk.messages


@pytest.mark.parametrize(("adds_bos", "bos"), [(True, BOS), (False, "")])
def test_an_alpaca_sample_is_the_book_s_bytes_and_eos(adds_bos: bool, bos: str) -> None:
    template = _ours("alpaca", adds_bos=adds_bos, bos=bos)
    assert template.render(_talk(instruction="What is fog?", output="Weather that stayed.")) == bos + PLAIN + EOS
    talk = _talk(instruction="Sum up.", input="A long tale.", output="Short.")
    assert template.render(talk) == bos + WITH_INPUT + EOS
    assert ("bos_token" in template.text) == adds_bos
    assert (template.bos, template.eos, template.eos_id, template.tail) == (bos, EOS, 6, "")


def test_an_input_that_is_typed_out_is_one_too() -> None:
    typed = [turn("user", "Sum up.\n\n### Input:\nA long tale."), turn("assistant", "Short.")]
    assert _ours("alpaca").render(typed) == BOS + WITH_INPUT + EOS


def test_a_whole_talk_in_each_look() -> None:
    request = "Write a response that appropriately completes the request."
    assert _ours("alpaca").render(WHOLE) == (
        "<s>Be brief.\n\nBelow is an instruction that describes a task, paired with an input that provides further "
        f"context. {request}\n\n### Instruction:\nSum up.\n\n### Input:\nA long tale."
        "\n\n### Response:\nLook it up.</s>\n\n### Tool:\ntale: long\n\n### Response:\nShort.</s>"
    )
    assert _ours("alpaca").render(TWICE) == (
        f"{BOS}{PLAIN}{EOS}\n\n### Instruction:\nAnd mist?\n\n### Response:\nLook it up.{EOS}"
    )
    assert _ours("chatml").render(WHOLE) == (
        "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSum up.\n\nA long tale.<|im_end|>\n"
        "<|im_start|>assistant\nLook it up.<|im_end|>\n<|im_start|>tool\ntale: long<|im_end|>\n"
        "<|im_start|>assistant\nShort.<|im_end|>"
    )
    head = "<|start_header_id|>{}<|end_header_id|>\n\n".format
    assert _ours("llama3").render(WHOLE) == (
        f"<s>{head('system')}Be brief.<|eot_id|>{head('user')}Sum up.\n\nA long tale.<|eot_id|>"
        f"{head('assistant')}Look it up.<|eot_id|>{head('ipython')}tale: long<|eot_id|>"
        f"{head('assistant')}Short.<|eot_id|>"
    )


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("alpaca", (EOS, 6, "")),
        ("chatml", ("<|im_end|>", 1, "\n")),
        ("llama3", ("<|eot_id|>", 4, "")),
    ],
)
def test_each_ends_with_its_own_stop_token(name: str, marks: tuple[str, int, str]) -> None:
    template = _ours(name)
    assert (template.eos, template.eos_id, template.tail) == marks
    assert template.render(TWICE).endswith("Look it up." + template.eos)
    assert template.prompt(TWICE).endswith("\n")


@pytest.mark.parametrize(
    ("name", "missing"),
    [("chatml", "<|im_start|>"), ("chatml", "<|im_end|>"), ("llama3", "<|end_header_id|>"), ("llama3", "<|eot_id|>")],
)
def test_a_tokenizer_without_the_template_s_tokens_is_refused(name: str, missing: str) -> None:
    specials = {token: place for token, place in _tokenizer().specials.items() if token != missing}
    with pytest.raises(ConfigError, match=r"tokenizer has no <\|") as caught:
        _ours(name, specials=specials)
    assert missing in caught.value.message
    assert "--template alpaca or model" in caught.value.hint


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_text_and_ids_are_those_of_transformers(name: str, family: str, load: Callable[[str], Any]) -> None:
    made = load(family)
    template = load_template(name, made.folder, made.ours)
    for title, talk in TALKS.items():
        if name == "model" and family != "qwen2" and title == "whole":
            continue
        seen = talk if name != "model" else [{"role": m["role"], "content": _said(m)} for m in talk]
        how: dict[str, Any] = {"conversation": seen, "chat_template": template.text}
        text = template.render(talk)
        assert text + template.tail == made.theirs.apply_chat_template(**how, tokenize=False)
        prompt = made.theirs.apply_chat_template(**how, tokenize=False, add_generation_prompt=True)
        assert template.prompt(talk) == prompt
        if family in ("r1", "command"):
            continue  # transformers spoils these (see test_tokenizer)
        (ids,) = made.ours.encode([text])
        expected = made.theirs.apply_chat_template(**how, return_dict=True)["input_ids"]
        assert ids == expected[: len(ids)]
        assert len(expected) - len(ids) == made.ours.length(template.tail)
        assert ids[-1] == template.eos_id
        assert template.bos == "" or text.startswith(template.bos)
        assert ids.count(made.ours.specials.get(made.ours.bos, -1)) >= bool(template.bos)


def _said(message: Message) -> str:
    return "\n\n".join(filter(None, (message["content"], message.get("input"))))


@pytest.mark.parametrize(
    ("family", "eos", "tail"),
    [
        ("llama3", "<|eot_id|>", ""),
        ("qwen2", "<|im_end|>", "\n"),
        ("qwen3", "<|im_end|>", "\n"),
        ("llama2", "</s>", ""),
        ("mistral", "</s>", ""),
        ("gemma2", "<end_of_turn>", "\n"),
    ],
)
def test_a_model_s_own_stop_token_is_what_follows_its_answers(
    family: str, eos: str, tail: str, load: Callable[[str], Any]
) -> None:
    made = load(family)
    template = load_template("model", made.folder, made.ours)
    assert (template.eos, template.tail, template.bos) == (eos, tail, made.ours.bos)
    assert template.eos_id == made.ours.backend.token_to_id(eos)


def test_an_answer_s_mark_may_stand_apart_and_others_may_follow(tmp_path: Path) -> None:
    """As Llama 2 writes a space before its EOS, and Phi-3 an EOS behind the end of a talk."""
    text = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + ' <|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% else %}{{ eos_token }}{% endif %}"
    )
    template = _own(tmp_path, text)
    assert (template.eos, template.tail, template.bos) == ("<|im_end|>", f"\n{EOS}", "")
    assert template.render([ASKED, ANSWERED]).endswith("stayed. <|im_end|>")
    assert [template.render(TWICE)[start:end] for start, end in template.answers(TWICE)] == [
        "Weather that stayed. <|im_end|>",
        "Look it up. <|im_end|>",
    ]


def test_a_file_of_its_own_wins_over_the_tokenizer_s_config_and_there_the_default(tmp_path: Path) -> None:
    write = "{{% for m in messages %}}{}{{{{ m.content }}}}{{{{ eos_token }}}}{{% endfor %}}".format
    config = tmp_path / "tokenizer_config.json"
    with pytest.raises(ConfigError, match="no chat template of its own"):
        load_template("model", tmp_path, _tokenizer())
    entries = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": write("list ")}]
    for stored, expected in ((write("one "), "one "), (entries, "list ")):
        config.write_text(json.dumps({"chat_template": stored}))
        assert load_template("model", tmp_path, _tokenizer()).text == write(expected)
    (tmp_path / "chat_template.jinja").write_text(write("file "))
    assert load_template("model", tmp_path, _tokenizer()).render([ASKED, ANSWERED]).startswith("file What")


@pytest.mark.parametrize("stored", [None, 3, [], [{"name": "tool_use", "template": "{{ x }}"}]])
def test_without_a_template_of_its_own_another_is_named(tmp_path: Path, stored: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": stored}))
    with pytest.raises(ConfigError, match="no chat template of its own") as caught:
        load_template("model", tmp_path, _tokenizer())
    assert "--template chatml or alpaca" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "ends an answer with no special token"),
        ("{% for m in messages %}{{ m.content }}</s> Next:{% endfor %}", "ends an answer with no special token"),
        ("{% for m in messages %}{{ m.content }} done</s>{% endfor %}", "ends an answer with no special token"),
        ("{{ messages[0].content }}</s>", "does not write question and answer"),
        ("{{ messages[1].content }}</s>", "does not write question and answer"),
        ("nothing</s>", "does not write question and answer"),
        ("{% for m in messages %}", "is no Jinja"),
        ("{{ raise_exception('not today') }}", "refuses a conversation: not today"),
        ("{{ messages.nowhere.content }}", "refuses a conversation: 'list object' has no attribute 'nowhere'"),
        ("{{ messages[0].__class__.__mro__ }}", "refuses a conversation: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "refuses a conversation: "),
    ],
)
def test_a_template_that_cannot_be_trained_with_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _own(tmp_path, text)
    assert complaint in caught.value.message
    assert caught.value.hint == "use another one: --template chatml or alpaca"


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}\n  {% if m.content %}\n{{ m.content }}</s>\n  {% endif %}\n{% endfor %}\n",
        "{% for m in messages %}{% generation %}\n {{ m.content }}{% set x = 1 %}</s>{% endgeneration %}\n{% endfor %}",
        "{% for m in messages %}{{ m | tojson }}{{ m|tojson(indent=2) }}{{ m.content }}</s>{% endfor %}",
        "{{ tools is none }}{{ documents }}{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}"
        "{{ m.content }}{{ strftime_now('%Y') }}{{ m.content }}</s>{% endfor %}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ range(3) | list }}"
        "{{ unk_token is defined }}{{ m.content }}{{ eos_token }}{% endfor %}",
        "{% macro show(m) %}{{ bos_token }}{{ m.content | trim }}</s>{% endmacro %}"
        "{% for m in messages %}{{ show(m) }}{% endfor %}",
    ],
)
def test_what_transformers_gives_a_template_is_there(text: str, load: Callable[[str], Any], tmp_path: Path) -> None:
    """Twice the content in one of these means that the probe finds it twice, so it is rendered without being loaded."""
    made = load("mistral")
    template = Template("model", text, "", EOS, 2, made.ours.named)
    for talk in (TWICE, [turn("user", "<b>é & 'ü'"), turn("assistant", '"\n')]):
        assert template._written(talk, asks=False) == made.theirs.apply_chat_template(
            talk, chat_template=text, tokenize=False
        )


def test_a_refusal_names_the_template_and_a_way_out() -> None:
    with pytest.raises(ConfigError, match="“alpaca” refuses a conversation") as caught:
        _ours("alpaca").prompt([{"role": "user"}])
    assert caught.value.hint == "use another one: --template alpaca"
    with pytest.raises(ConfigError, match=r"does not end this conversation with <\|im_end\|>"):
        _ours("chatml").render([])


def test_gemma_refuses_a_system_message_in_its_own_words(load: Callable[[str], Any]) -> None:
    made = load("gemma2")
    with pytest.raises(ConfigError, match="refuses a conversation: System role not supported"):
        load_template("model", made.folder, made.ours).render(WHOLE)


def test_a_digest_is_of_the_text_and_the_stop_token_alone() -> None:
    template = _ours("alpaca")
    assert len(template.digest) == 64
    assert template.digest == Template("another", template.text, "", EOS, 3).digest
    assert template.digest != Template("alpaca", template.text + " ", BOS, EOS, 6).digest
    assert template.digest != Template("alpaca", template.text, BOS, BOS, 6).digest
    assert template.digest != _ours("alpaca", adds_bos=False, bos="").digest
    assert packaged("alpaca") == template.text


def test_thoughts_that_only_a_last_answer_has_are_part_of_it(load: Callable[[str], Any]) -> None:
    made = load("qwen3")
    template = load_template("model", made.folder, made.ours)
    text = template.render(TWICE)
    assert [text[start:end] for start, end in template.answers(TWICE)] == [
        "Weather that stayed.<|im_end|>",
        "<think>\n\n</think>\n\nLook it up.<|im_end|>",
    ]


@pytest.mark.parametrize(
    "text",
    [
        # As Mistral's later ones move the system message to the last question.
        "{% set asked = messages | selectattr('role', 'equalto', 'user') | list %}{% for m in messages %}"
        "{{ 'last ' if m == asked[-1] else '' }}{{ m.role + m.content + '</s>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant{% endif %}",
        # As gpt-oss ends its last answer with another token than the ones before.
        "{% for m in messages %}{{ m.role + m.content }}"
        "{{ '</s>' if loop.last and m.role == 'assistant' else '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant{% endif %}",
    ],
)
def test_a_template_that_moves_text_is_refused_where_answers_must_be_told_apart(tmp_path: Path, text: str) -> None:
    template = _own(tmp_path, text)
    assert len(template.answers([ASKED, ANSWERED])) == 1
    with pytest.raises(ConfigError, match="in another way once it continues") as caught:
        template.answers(TWICE)
    assert "--template chatml" in caught.value.hint


CONTENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and "<" not in text
)


@st.composite
def talks(draw: Any) -> list[Message]:
    """Whole talks as parse_row gives them: perhaps a system message, a question, answers, tools between."""
    messages = [turn("system", draw(CONTENT))] if draw(st.booleans()) else []
    for place in range(draw(st.integers(1, 4))):
        asked = turn("user" if place == 0 else draw(st.sampled_from(["user", "tool"])), draw(CONTENT))
        if place == 0 and draw(st.booleans()):
            asked["input"] = draw(CONTENT)
        messages += [asked, turn("assistant", draw(CONTENT))]
    return messages


@pytest.mark.parametrize("name", ["alpaca", "chatml", "llama3", "model"])
@settings(deadline=None)
@given(talk=talks())
def test_a_talk_s_answers_follow_its_prompts_and_end_with_eos(name: str, talk: list[Message]) -> None:
    template = _OWN if name == "model" else _ours(name)
    text = template.render(talk)
    answers = [message["content"] for message in talk if message["role"] == "assistant"]
    spans = template.answers(talk)
    assert [text[start:end] for start, end in spans] == [answer + template.eos for answer in answers]
    assert spans == template.answers(talk, text)
    assert text.startswith(template.prompt(talk[:-1]))
    assert text == template.prompt(talk[:-1]) + talk[-1]["content"] + template.eos
    assert spans[-1][1] == len(text)
    ends = len(answers) if name in ("alpaca", "model") else len(talk)
    assert text.count(template.eos) == ends
    assert text.startswith(BOS) and text.count(BOS) == 1
    for message in talk:
        assert message["content"] in text and message.get("input", "") in text


_OWN = Template(
    "model",
    "{{ bos_token }}{% for m in messages %}{{ m.role if m.role != 'assistant' else '' }}{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
    BOS,
    EOS,
    6,
    {"bos_token": BOS, "eos_token": EOS},
)


def test_the_probe_is_no_text_of_ours() -> None:
    assert all(PROBE not in packaged(name) for name in ("alpaca", "chatml", "llama3"))


def test_a_jinja_text_alone_renders_talks_and_prompts() -> None:
    text = template_text("alpaca", adds_bos=True)
    template = Template("", text, BOS, EOS, -1, {"bos_token": BOS, "eos_token": EOS})
    assert template.render([ASKED, ANSWERED]) == BOS + PLAIN + EOS
    assert template.prompt([ASKED]) + ANSWERED["content"] == BOS + PLAIN
