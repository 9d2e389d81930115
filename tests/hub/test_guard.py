"""The second look at what is to leave: secrets, paths, private state, links; and no false alarm on what is usual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from twinctl.hub import secret_scan

# Put together here, so that no scanner of this repository takes them for real ones.
SECRETS = {
    "a Hugging Face token": "hf_" + "a1B2" * 9,
    "an OpenAI or Anthropic key": "sk-" + "proj-" + "a1B2" * 10,
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "an AWS key": "AKIA" + "A1B2" * 4,
    "a Google key": "AIza" + "a1B2c" * 7,
    "a Slack token": "xoxb-" + "1234567890-" * 3,
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a setting with a secret": 'COMET_API_KEY = "' + "a1B2" * 6 + '"',
    "a user and password in an address": "https://me:" + "hunter2@example.com/x",
}


def found(name: str, content: Path | bytes, *roots: Path, **secrets: bytes) -> list[str]:
    return [each.what for each in secret_scan.find_leaks({name: content}, roots, secrets, [b"/srv/people/jane"])]


@pytest.mark.parametrize("what", SECRETS)
def test_tokens_of_every_make_are_found_and_not_quoted(what: str) -> None:
    text = f'{{\n  "note": "x {SECRETS[what]} y"\n}}'
    (told,) = found("config.json", text.encode())
    assert told == f"{what} in line 2"


def test_our_own_secrets_are_found_whatever_they_look_like() -> None:
    assert found("README.md", b"say plain-word!", HF_TOKEN=b"plain-word!") == ["the value of HF_TOKEN in it"]


@pytest.mark.parametrize(
    "text",
    [
        '"/home/jane/models/x"',
        "see file:///Users/jane/x",
        "'C:\\\\Users\\\\jane'",
        "at /srv/people/jane/ws",
        "=/tmp/x1",
    ],
)
def test_paths_of_a_machine_are_found(text: str) -> None:
    assert found("adapter_config.json", f"a\n{text}".encode()) == ["a path of a machine in line 2"]


@pytest.mark.parametrize(
    "text",
    ["https://huggingface.co/data/x", "and/or", "a/home/b", "{{ '/' }}", "s/root/leaf/", "1/2", '"/"', "</tmp>"],
)
def test_what_only_looks_like_a_path_passes(text: str) -> None:
    assert found("README.md", text.encode()) == []


def test_a_vocabulary_may_have_pieces_of_paths_but_not_this_machines(tmp_path: Path) -> None:
    assert found("tokenizer.json", b'{"vocab": {"/home/user": 1, "/tmp/x": 2}}') == []
    assert found("tokenizer.json", b'{"x": "/srv/people/jane/ws"}') == ["a path of a machine in line 1"]


@pytest.mark.parametrize(
    "name", [".env", "a/.env.local", "optimizer.pt", "checkpoint-8/x.json", "training_args.bin", "train.arrow", "x.pkl"]
)
def test_private_state_is_known_by_its_name(name: str) -> None:
    assert found(name, b"") == ["a name of a training's private state or of settings"]


def test_headers_of_weights_are_read(tmp_path: Path) -> None:
    head = json.dumps({"__metadata__": {"from": "/home/jane/base"}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"/home/jane/chance" * 9)
    assert found(path.name, path, tmp_path) == ["a path of a machine in its header"]
    head = b'{"__metadata__":{}}'
    path.write_bytes(len(head).to_bytes(8, "little") + head + b' "/home/jane/chance"' * 9)
    assert found(path.name, path, tmp_path) == []


def test_links_may_not_lead_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "out", tmp_path / "private"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.json").write_text("{}")
    (outside / "b.json").write_text("{}")
    (inside / "link.json").symlink_to(inside / "a.json")
    (inside / "leak.json").symlink_to(outside / "b.json")
    assert found("link.json", inside / "link.json", inside) == []
    assert found("leak.json", inside / "leak.json", inside) == ["a link that leads out of the result"]
    assert found("../x.json", inside / "a.json", inside) == ["a name that leads out of the repository"]


def test_the_list_of_each_kind() -> None:
    assert secret_scan.allowed("model", "model-00001-of-00002.safetensors")
    assert secret_scan.allowed("gguf", "tiny-q8_0.gguf")
    for kind in secret_scan.ALLOWED:
        for name in ("train.arrow", "trainer_state.json", "modeling.py", "pytorch_model.bin", "x/config.json", ".env"):
            assert not secret_scan.allowed(kind, name), (kind, name)
