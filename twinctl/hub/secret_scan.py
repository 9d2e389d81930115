"""What may leave this machine by its name, and a scan of what does for secrets.

What must stay true: a file goes only if its name is on the list of its kind; whatever the list says, a file with a
secret, a path of this machine or a training's private state in it stops the whole push, and so does a link that leads
out of the result. A leak names file and place and never quotes a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from twinctl.errors import CheckFailed

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PROCESSOR = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
ALLOWED = {
    "adapter": (
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.safetensors.index.json",
        *_TOKENIZER,
    ),
    "model": ("config.json", "generation_config.json", *_WEIGHTS, *_TOKENIZER, *_PROCESSOR, "proof.json"),
    "gguf": ("*.gguf", "*.gguf.proof.json", "Modelfile", "Modelfile.*"),
}
"""The files of each kind of result that people load it from. Nothing is in a subfolder."""

_PRIVATE = (
    ".env",
    ".env.*",
    "optimizer*",
    "scheduler.pt",
    "rng_state*",
    "scaler.pt",
    "trainer_state.json",
    "training_args.bin",
    "*.pt",
    "*.pth",
    "*.bin",
    "*.pkl",
    "*.pickle",
    "*.ckpt",
    "*.arrow",
    "*.jsonl",
    "events.out.*",
    ".git",
    "checkpoint-*",
    "*.log",
)
_TOKENS = {
    "a Hugging Face token": rb"\bhf_[A-Za-z0-9]{30,}|\bapi_org_[A-Za-z0-9]{30,}",
    "an OpenAI or Anthropic key": rb"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}",
    "a GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{60,}|\bglpat-[A-Za-z0-9_-]{20}",
    "an AWS key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Google key": rb"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": rb"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a setting with a secret": rb"(?i)\b(?:hf_token|\w*_?api_key|secret_key)\b[\"']?\s*[=:]\s*[\"']?[\w-]{20,}",
    "a user and password in an address": rb"\b[a-z]+://[^/\s:@\"']+:[^/\s:@\"']{3,}@",
}
_PATHS = rb"""(?:(?<=["'\s(=:,])|^)(?:file://)?/(?:home|Users|root|mnt|media|tmp|var|srv|opt|workspace|content|kaggle|data|private)/[\w.@-]"""
_DRIVE = rb"""(?:(?<=["'\s(=])|^)[A-Za-z]:\\{1,2}(?:Users|Documents|Temp)\b"""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model")
_TEXT = 2**26
_HEAD = 2**25


@dataclass(frozen=True)
class Leak:
    """Why a file must not leave, in words that can be shown."""

    name: str
    what: str


def allowed(kind: str, name: str) -> bool:
    """Whether a file of that name belongs to what people load a result of that kind from."""
    return "/" not in name and any(fnmatchcase(name, pattern) for pattern in ALLOWED[kind])


def local_secrets() -> dict[str, bytes]:
    """Values that must never leave, by what they are: our secrets, also those that a login stored."""
    import huggingface_hub

    values = {name: os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "COMET_API_KEY")}
    values["the stored Hugging Face token"] = huggingface_hub.get_token() or ""
    return {name: value.encode() for name, value in values.items() if len(value) >= 6}


def local_paths(*folders: Path) -> list[bytes]:
    """Folders of this machine whose paths must not leave: home, the working directory, the workspace. Short ones could
    be a word of a vocabulary.
    """
    wanted = {str(path) for path in (Path.home(), Path.cwd(), *(folder.resolve() for folder in folders))}
    return [path.encode() for path in sorted(wanted) if len(path) >= 8]


def find_leaks(
    files: Mapping[str, Path | bytes], inside: Iterable[Path], secrets: Mapping[str, bytes], places: Iterable[bytes]
) -> list[Leak]:
    """All that is wrong with the files, by name. `inside`: the folders that a file may be in, links resolved."""
    roots = [folder.resolve() for folder in inside]
    return [
        Leak(name, what)
        for name, content in sorted(files.items())
        for what in _leaks(name, content, roots, secrets, places)
    ]


def require_clean(leaks: list[Leak]) -> None:
    """Raise CheckFailed naming every leak."""
    if leaks:
        raise CheckFailed(
            "nothing was sent: " + "; ".join(f"{leak.name} has {leak.what}" for leak in leaks[:8]),
            "take it out and make the file again; what a push sends is listed by twinctl push REPO --dry-run",
        )


def _leaks(
    name: str, content: Path | bytes, roots: list[Path], secrets: Mapping[str, bytes], places: Iterable[bytes]
) -> Iterator[str]:
    """What is wrong with one file."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        yield "a name that leads out of the repository"
    if any(fnmatchcase(part.lower(), pattern) for part in parts for pattern in _PRIVATE):
        yield "a name of a training's private state or of settings"
    if isinstance(content, Path):
        real = content.resolve()
        if not any(real.is_relative_to(root) for root in roots):
            yield "a link that leads out of the result"
            return
        if not real.is_file():
            yield "nothing in it: it is not a file"
            return
    yield from _in_text(name, content if isinstance(content, bytes) else _readable(content), secrets, places)


def _readable(path: Path) -> bytes:
    """What can hold text: a small file whole; of weights the header, where metadata is."""
    with path.open("rb") as stream:
        if path.suffix == ".safetensors":
            length = int.from_bytes(stream.read(8), "little")
            return stream.read(min(length, _HEAD))
        return stream.read(_HEAD if path.suffix == ".gguf" else _TEXT)


def _in_text(name: str, text: bytes, secrets: Mapping[str, bytes], places: Iterable[bytes]) -> Iterator[str]:
    for what, value in secrets.items():
        if value in text:
            yield f"the value of {what} in it"
            return
    for what, pattern in _TOKENS.items():
        if match := re.search(pattern, text):
            yield f"{what} in {_place(name, text, match.start())}"
            return
    hit = next((text.find(value) for value in places if value in text), -1)
    if hit < 0 and not name.endswith((".gguf", *_VOCABULARIES)):  # pieces of words look like paths
        match = re.search(_PATHS, text, re.MULTILINE) or re.search(_DRIVE, text, re.MULTILINE)
        hit = match.start() if match else -1
    if hit >= 0:
        yield f"a path of a machine in {_place(name, text, hit)}"


def _place(name: str, text: bytes, start: int) -> str:
    if name.endswith((".safetensors", ".gguf")):
        return "its header"
    return f"line {text.count(bytes([10]), 0, start) + 1}"
