"""How an exported model is prompted, read from its folder: chat template, BOS, stop tokens.

What must stay true: the prompts are those of the folder's own Jinja; a stop token that any of the folder's files names
is among the stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.data.template import MODEL, Message, Template, load_template
from twinctl.errors import ConfigError
from twinctl.workspace.files import read_json


@dataclass(frozen=True)
class ChatFormat:
    """`adds_bos`: the runtime itself puts `bos` before a prompt, as GGUF's add_bos has it. `stops` are the texts of all
    tokens that end an answer, the template's own first; `specials` those of all special tokens.
    """

    template: Template
    bos: str
    adds_bos: bool
    stops: tuple[str, ...]
    specials: frozenset[str]

    def prompt(self, messages: list[Message]) -> str:
        """The text that the runtime is to be given for the next answer, without the BOS that it adds itself.

        Raises ConfigError when the template refuses the conversation, or does not begin it with that BOS.
        """
        text = self.template.prompt(messages)
        if self.adds_bos and not text.startswith(self.bos):
            raise ConfigError(
                f"the chat template begins a conversation without {self.bos}, which the runtime puts before every"
                " prompt",
                "Ollama would show the model other prompts than training did; prepare with --template alpaca or chatml",
            )
        return text.removeprefix(self.bos) if self.adds_bos else text


def read_chat_format(model_dir: Path) -> ChatFormat:
    """The chat of a model folder: tokenizer, chat template, config, generation_config.

    Raises ConfigError where there is no template that can be used.
    """
    from tokenizers import Tokenizer

    from twinctl.data.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.load(model_dir)
    template = load_template(MODEL, model_dir, tokenizer)
    stored, bos = Tokenizer.from_file(str(model_dir / "tokenizer.json")), tokenizer.named.get("bos_token", "")
    adds_bos = bool(bos) and stored.encode("a").ids[:1] == [stored.token_to_id(bos)]
    stops = [template.eos, tokenizer.eos]
    for path in (model_dir / "generation_config.json", model_dir / "config.json"):
        stop_ids: Any = read_json(path).get("eos_token_id") if path.is_file() else None
        stop_ids = stop_ids if isinstance(stop_ids, list) else [stop_ids]
        stops += [stored.id_to_token(number) or "" for number in stop_ids if number is not None]
    stops = [stop for stop in dict.fromkeys(stops) if stop]
    return ChatFormat(template, bos, adds_bos, tuple(stops), frozenset(tokenizer.specials))
