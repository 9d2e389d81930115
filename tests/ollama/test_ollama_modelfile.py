"""A Modelfile writes what the chat template writes, or is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from tokenizers import Tokenizer

from tests.support.chats import CHATS, HALF_TRIMMED, NO_BOS, NUMBERED, SYSTEM_LAST, chat_of
from tests.support.families import save_tokenizer
from twinctl.config.sampling import Sampling
from twinctl.data.template import packaged
from twinctl.errors import CheckFailed, ConfigError, TwinctlError
from twinctl.ollama import template_script
from twinctl.ollama.chat_format import ChatFormat, read_chat_format
from twinctl.ollama.go_read import rendered
from twinctl.ollama.go_write import go_template
from twinctl.ollama.modelfile import check_modelfile, commands, modelfile, parameters_of
from twinctl.ollama.template_script import ASKED, START, WITH_SYSTEM, learn

PARAMETERS = parameters_of(Sampling(), 2048)
QUESTION = [{"role": "user", "content": "What is fog?"}]
TALK = [
    {"role": "system", "content": "Be brief."},
    *QUESTION,
    {"role": "assistant", "content": "Weather that stayed."},
    {"role": "user", "content": "And {{ mist }}?"},
]


def template_of(text: str) -> str:
    return dict(commands(text))["template"]


def values(text: str, name: str) -> list[str]:
    return [value for found, value in commands(text) if found == name]


@pytest.mark.parametrize("name", CHATS)
def test_prompts_are_those_of_the_jinja(name: str) -> None:
    chat = CHATS[name]
    text = modelfile(chat, "twin.gguf", PARAMETERS)
    assert check_modelfile(text, chat) >= 30  # three forms of talk at least, with a dozen contents
    assert rendered(template_of(text), QUESTION) == chat.prompt(QUESTION)


@pytest.mark.parametrize(
    "name", ["alpaca", "chatml", "llama3", "gemma 3", "llama3's own", "qwen2's own", "qwen3's own"]
)
def test_a_system_message_stands_where_it_stood_in_training(name: str) -> None:
    chat = CHATS[name]
    text = modelfile(chat, "twin.gguf", PARAMETERS)
    assert rendered(template_of(text), TALK) == chat.prompt(TALK)


def test_what_is_in_a_modelfile() -> None:
    text = modelfile(CHATS["chatml"], "my twin-q4_k_m.gguf", PARAMETERS)
    assert text.startswith("# ")
    assert next(iter(commands(text))) == ("from", "./my twin-q4_k_m.gguf")
    assert values(text, "stop") == ["<|im_end|>"]
    sampling = Sampling()
    assert (values(text, "temperature"), values(text, "top_p")) == ([f"{sampling.temperature}"], [f"{sampling.top_p}"])
    assert (values(text, "top_k"), values(text, "repeat_penalty")) == (["0"], ["1"])


def test_greedy_sampling_is_said() -> None:
    text = modelfile(CHATS["alpaca"], "a.gguf", parameters_of(Sampling(temperature=0), 4096))
    assert (values(text, "temperature"), values(text, "num_ctx")) == (["0"], ["4096"])


@pytest.mark.parametrize(("name", "guards"), [("alpaca", ["### Instruction:"]), ("llama3", []), ("gemma 3", [])])
def test_the_next_question_in_plain_text_is_a_stop_too(name: str, guards: list[str]) -> None:
    chat = CHATS[name]
    assert values(modelfile(chat, "a.gguf", PARAMETERS), "stop") == [*chat.stops, *guards]


def test_the_bos_is_left_to_who_adds_it() -> None:
    assert not rendered(template_of(modelfile(CHATS["alpaca"], "a.gguf", PARAMETERS)), QUESTION).startswith("<s>")
    assert rendered(template_of(modelfile(CHATS["a BOS of its own"], "a.gguf", PARAMETERS)), QUESTION).startswith("<s>")
    again = rendered(template_of(modelfile(CHATS["llama2's own"], "a.gguf", PARAMETERS)), TALK[1:])
    assert again.count("<s>") == 1  # that of the second question


def test_an_answer_that_is_begun_is_gone_on_with() -> None:
    begun = [*QUESTION, {"role": "assistant", "content": "Fog is"}]
    for name in ("alpaca", "chatml", "llama3", "gemma 3"):
        written = rendered(template_of(modelfile(CHATS[name], "a.gguf", PARAMETERS)), begun)
        assert written == CHATS[name].prompt(QUESTION) + "Fog is"


@pytest.mark.parametrize("words", ["asked\n\n### Input:\nwith", "\n\n### Input:\n", "ä\n\n### Input:", "### Input:\n"])
def test_alpacas_other_preface_is_found_by_the_content(words: str) -> None:
    chat, asked = CHATS["alpaca"], [{"role": "user", "content": words}]
    written = rendered(template_of(modelfile(chat, "a.gguf", PARAMETERS)), asked)
    assert written == chat.prompt(asked)
    assert ("paired with an input" in written) == ("\n\n### Input:\n" in words)


def test_what_a_template_does_not_take_is_left_out_and_said() -> None:
    chat = CHATS["mistral's own"]
    text = modelfile(chat, "a.gguf", PARAMETERS)
    assert rendered(template_of(text), TALK) == chat.prompt(TALK[1:])
    assert "left out here: a system message" in text


def test_words_that_ollama_cannot_follow_are_named() -> None:
    assert "by Ollama: '</think>'" in modelfile(CHATS["thoughts"], "a.gguf", PARAMETERS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SYSTEM_LAST, "content of number 2"),
        (HALF_TRIMMED, "some of the white space"),
        (NUMBERED, "in one conversation"),
        (NO_BOS, "begins a conversation without <s>"),
        ("{{ bos_token }}{{ messages[-1].content }}", "content of number 1"),
        ("{{ bos_token }}{{ messages[0].content | upper }}", "content of number 1"),
    ],
)
def test_a_template_that_is_no_row_of_gaps_is_refused_with_what_to_do(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        modelfile(chat_of(text), "a.gguf", PARAMETERS)
    assert "--template alpaca" in caught.value.hint


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("<|im_start|>user\n", "<|im_start|>user\n "),
        ("{{ range", "<s>{{ range"),
        ("{{ else }}", "{{ else }} "),
        ('eq .Role "assistant"', 'eq .Role "user"'),
        ('PARAMETER stop "<|im_end|>"\n', ""),
        ("{{ .Content }}", "{{ .Contents }}"),
        ("{{ .Content }}", "{{- .Content }}"),
    ],
)
def test_the_check_finds_a_wrong_one(there: str, instead: str) -> None:
    chat = CHATS["chatml"]
    text = modelfile(chat, "a.gguf", PARAMETERS)
    assert there in text
    with pytest.raises(CheckFailed, match="Modelfile"):
        check_modelfile(text.replace(there, instead), chat)


@pytest.mark.parametrize("stop", ['a """\nb', "family 👩\u200d👩", "no\u00a0break", "bell\a"])
def test_what_a_modelfile_cannot_hold_is_refused(stop: str) -> None:
    with pytest.raises(ConfigError, match="cannot hold a stop token"):
        modelfile(replace(CHATS["chatml"], stops=(stop,)), "a.gguf", PARAMETERS)


@pytest.mark.parametrize(
    "stop", ['say "hi"', '"""', 'a """ b', '"quoted"', " spaces ", "two\nlines\n", "{{ .Prompt }}", "# no comment"]
)
def test_what_it_can_hold_comes_out_as_it_was(stop: str) -> None:
    assert values(modelfile(replace(CHATS["chatml"], stops=(stop,)), "a.gguf", PARAMETERS), "stop") == [stop]


@pytest.mark.parametrize("name", ["../a.gguf", "/etc/passwd", "a\nSYSTEM b", "", "..", " a"])
def test_a_name_is_never_a_path_or_another_line(name: str) -> None:
    with pytest.raises(ConfigError, match="no file name"):
        modelfile(CHATS["chatml"], name, PARAMETERS)


def _folder(family: str, folder: Path, template: str) -> Path:
    save_tokenizer(family, folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def test_a_model_folder_says_how_it_is_spoken_to(tmp_path: Path) -> None:
    folder = _folder("llama3", tmp_path, packaged("llama3"))
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    stops = [ids["<|end_of_text|>"], ids["<|eot_id|>"], 99999]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    chat = read_chat_format(folder)
    assert (chat.bos, chat.adds_bos, chat.template.eos) == ("<|begin_of_text|>", True, "<|eot_id|>")
    assert chat.stops == ("<|eot_id|>", "<|end_of_text|>")
    assert check_modelfile(modelfile(chat, "a.gguf", PARAMETERS), chat)


def test_a_tokenizer_that_adds_no_bos(tmp_path: Path) -> None:
    chat = read_chat_format(_folder("qwen2", tmp_path, packaged("chatml").replace("{{- bos_token -}}\n", "")))
    assert (chat.adds_bos, chat.stops) == (False, ("<|im_end|>",))
    assert check_modelfile(modelfile(chat, "a.gguf", PARAMETERS), chat)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = _folder("llama3", tmp_path, packaged("llama3"))
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(TwinctlError, match="generation_config"):
        read_chat_format(folder)


def test_the_day_is_said_to_be_that_of_the_export() -> None:
    dated: ChatFormat = chat_of("{{ bos_token }}" + "{{ strftime_now('%Y') }}" + CHATS["no system"].template.text[15:])
    assert "the day's date" in modelfile(dated, "a.gguf", PARAMETERS)


def test_the_worked_example_of_template_script_is_what_is_learned_and_written() -> None:
    _, _, jinja, _, go, *_ = (template_script.__doc__ or "").split("\n\n")
    refuses = "{% for m in messages if m.role in ('system', 'tool') %}{{ raise_exception('no') }}{% endfor %}"
    chat = chat_of(refuses + dedent(jinja).replace("\\\\n", "\\n"), bos=None)
    script = learn(chat)
    assert {pair: separator.text for pair, separator in script.separators.items()} == {
        (START, "user"): "Q: ",
        ("user", "assistant"): "\nA: ",
        ("assistant", "user"): "\nQ: ",
        ("user", ASKED): "\nA: ",
    }
    assert WITH_SYSTEM in script.left_out and "the results of tools" in script.left_out
    assert go_template(script) == dedent(go).replace("\n", "").replace("\\n", "\n")
