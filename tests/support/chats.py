"""Chats for Modelfiles: of our own templates, of the families', and of templates as they are met elsewhere."""

from __future__ import annotations

from tests.support.families import FAMILIES
from twinctl.data.template import MODEL, Template, template_text
from twinctl.ollama.chat_format import ChatFormat

SPECIALS = frozenset(
    {"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|eot_id|>", "<start_of_turn>", "<bos>"}
)
OURS = {"alpaca": "</s>", "chatml": "<|im_end|>", "llama3": "<|eot_id|>"}
ENDS = {"gemma2": "<end_of_turn>", "gemma3": "<end_of_turn>"}


def chat_of(text: str, *, bos: str | None = "<s>", eos: str = "</s>", adds_bos: bool | None = None) -> ChatFormat:
    marks = {"eos_token": eos, **({"bos_token": bos} if bos else {})}
    adds = bool(bos) if adds_bos is None else adds_bos
    return ChatFormat(Template(MODEL, text, bos or "", eos, 2, marks), bos or "", adds, (eos,), SPECIALS)


def _ours(name: str, *, adds_bos: bool) -> ChatFormat:
    return chat_of(template_text(name, adds_bos=adds_bos), bos="<s>" if adds_bos else None, eos=OURS[name])


def _family(name: str) -> ChatFormat:
    family = FAMILIES[name]
    return chat_of(family.template, bos=family.bos, eos=ENDS.get(name, family.eos))


# The system message stands in the first question, and contents are trimmed, as Gemma 3's own template has it.
GEMMA3 = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}"
    "{%- set rest = messages[1:] -%}{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}"
    "{%- for message in rest -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('roles must alternate') }}{%- endif -%}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}{{ message['content'] | trim }}"
    "{{ '<end_of_turn>\n' }}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
# A thought that an old answer holds is left out, as in Qwen 3 and DeepSeek R1.
THOUGHTS = (
    "{{ bos_token }}{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '[' + message.role + ']' + content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
# Everything that Go, or a Modelfile, would take for something else.
BRACES = (
    '{% raw %}{{ .System }}{"""x"""{{{ }}%s\\n {% endraw %}\u200b\u00a0\t\r{% for message in messages %}'
    '{{ "{" + message.role + "{{" + message.content + "}" }}{% raw %}"""{% endraw %}\n{{ eos_token }}{% endfor %}'
    '{% if add_generation_prompt %}{{ "{assistant{{" }}{% endif %}'
)
TURNS = (
    "{{ bos_token }}{% for message in messages if message.role != 'system' %}"
    "{{ '[' + message.role + ']' + message.content + eos_token }}{% endfor %}"
)
PASSES_OVER = TURNS + "{% if add_generation_prompt %}[assistant]{% endif %}"
# The system message stands in the last question, as in Mistral's v0.3.
SYSTEM_LAST = (
    "{{ bos_token }}{% for message in messages if message.role != 'system' %}"
    "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content + '\n' }}{% endif %}"
    "{{ '[' + message.role + ']' + message.content + eos_token }}{% endfor %}"
)
HALF_TRIMMED = TURNS.replace("message.content", "(message.content | string).lstrip()")
NUMBERED = TURNS.replace("'['", "'[' + (loop.index | string)")
NO_BOS = TURNS.replace("{{ bos_token }}", "")

CHATS = {
    **{name: _ours(name, adds_bos=True) for name in OURS},
    **{f"{name} without BOS": _ours(name, adds_bos=False) for name in OURS},
    **{f"{name}'s own": _family(name) for name, family in FAMILIES.items() if family.template},
    "gemma 3": chat_of(GEMMA3, bos="<bos>", eos="<end_of_turn>"),
    "thoughts": chat_of(THOUGHTS),
    "braces": chat_of(BRACES, bos=None),
    "no system": chat_of(PASSES_OVER),
    "a BOS of its own": chat_of(PASSES_OVER, adds_bos=False),
}
