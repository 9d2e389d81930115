"""Tokens and keys, and a Hub and a Comet that refuse, are not there or never answer."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.doctor import KEY, TOKEN, finding


def fine(**rights: Any) -> dict[str, Any]:
    return {"role": "fineGrained", "fineGrained": {"global": [], "scoped": [], **rights}}


@pytest.mark.parametrize(
    ("access", "state", "text"),
    [
        ({"role": "read"}, "ok", "role read: reads, does not write"),
        ({"role": "write"}, "ok", "role write: reads, writes"),
        (fine(canReadGatedRepos=True), "ok", "fine-grained: reads, does not write"),
        (fine(canReadGatedRepos=True, scoped=[{"permissions": ["repo.write"]}]), "ok", "fine-grained: reads, writes"),
        (fine(), "warning", "no gated models"),
    ],
)
def test_a_token_s_rights_are_told(
    cli: Cli, hub_with_tokens: Any, only: Any, home: Path, access: dict[str, Any], state: str, text: str
) -> None:
    only("hub")
    hub_with_tokens.rights[TOKEN] = access
    (home / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    done = cli("doctor", "--json").ok()
    found = finding(done, "hf token")
    assert (found["state"], text in found["found"]) == (state, True), found
    assert bool(found["hint"]) == (state != "ok")
    assert finding(done, "hub")["state"] == "ok"
    assert TOKEN not in done.out + done.err


def test_a_refused_token_fails_and_names_the_page(
    cli: Cli, hub_with_tokens: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = cli("doctor")
    assert done.code == 8
    assert re.search(r"^hub +ok ", done.out, re.MULTILINE)
    assert re.search(r"^hf token +failed +the Hub does not accept the token", done.out, re.MULTILINE)
    assert f"→  make one at {hub_with_tokens.url}/settings/tokens" in done.out
    assert "not in order: hf token" in done.err
    assert TOKEN not in done.out + done.err


def test_no_token_is_a_warning(cli: Cli, hub_with_tokens: Any, only: Any) -> None:
    only("hub")
    done = cli("doctor", "--json").ok()
    assert finding(done, "hub")["state"] == "ok"
    found = finding(done, "hf token")
    assert found["state"] == "warning"
    assert "/settings/tokens" in found["hint"]


def test_a_token_no_header_can_carry_is_said_without_it(
    cli: Cli, hub_with_tokens: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}…")
    done = cli("doctor", "--json")
    assert done.code == 8
    assert TOKEN not in done.out + done.err
    assert hub_with_tokens.asked == hub_with_tokens.seen == []


@pytest.mark.parametrize(
    ("fault", "text"), [("stop", "no connection"), ("status", "returned 503"), ("portal", "is not the Hub")]
)
def test_a_hub_that_is_not_there_fails_at_once(
    cli: Cli, hub_with_tokens: Any, only: Any, monkeypatch: pytest.MonkeyPatch, fault: str, text: str
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub_with_tokens.stop() if fault == "stop" else setattr(hub_with_tokens, fault, 503)
    began = time.monotonic()
    done = cli("doctor", "--json")
    assert time.monotonic() - began < 10
    assert done.code == 8
    found = finding(done, "hub")
    assert (found["state"], text in found["found"]) == ("failed", True), found
    assert found["hint"]
    assert finding(done, "hf token")["found"] == "not looked at, since hub failed"


@pytest.mark.heavy
def test_a_hub_that_never_answers_fails_within_seconds(cli: Cli, hub_with_tokens: Any, only: Any) -> None:
    only("hub")
    hub_with_tokens.hang = True
    began = time.monotonic()
    found = finding(cli("doctor", "--json"), "hub")
    assert time.monotonic() - began < 15
    assert found["state"] == "failed"
    assert "no answer in time" in found["found"]


def test_network_off_is_said_as_such(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = cli("doctor", "--json").ok()
    found = finding(done, "hub")
    assert (found["state"], found["hint"]) == ("warning", "unset HF_HUB_OFFLINE")
    assert "network off" in found["found"]
    assert "not tried" in finding(done, "hf token")["found"]


def test_a_key_that_comet_takes(cli: Cli, comet_with_account: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("comet")
    monkeypatch.setenv("COMET_API_KEY", KEY)
    done = cli("doctor", "--json").ok()
    assert finding(done, "comet")["state"] == "ok"
    assert comet_with_account.experiments == {}


def test_a_key_that_comet_refuses(
    cli: Cli, comet_with_account: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("comet")
    monkeypatch.setenv("COMET_API_KEY", bad := KEY[::-1])
    done = cli("doctor", "--json")
    assert done.code == 8
    found = finding(done, "comet")
    assert found["found"] == "Comet does not accept COMET_API_KEY"
    assert "apiKeys" in found["hint"]
    assert bad not in done.out + done.err


def test_no_key_and_no_comet_are_warnings(
    cli: Cli, comet_with_account: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("comet")
    found = finding(cli("doctor", "--json").ok(), "comet")
    assert (found["state"], "COMET_API_KEY" in found["found"]) == ("warning", True)
    comet_with_account.stop()
    monkeypatch.setenv("COMET_API_KEY", KEY)
    found = finding(cli("doctor", "--json").ok(), "comet")
    assert (found["state"], "cannot be asked" in found["found"]) == ("warning", True)


@pytest.mark.heavy
def test_a_comet_that_never_answers_is_waited_for_some_seconds(
    cli: Cli, comet_with_account: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("comet")
    comet_with_account.hang = True
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("COMET_URL_OVERRIDE", comet_with_account.url)
    began = time.monotonic()
    assert finding(cli("doctor", "--json").ok(), "comet")["state"] == "warning"
    assert time.monotonic() - began < 15
