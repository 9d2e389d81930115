"""Whatever is wrong with the Hub or the way to it is said within seconds, with what to do, and without a secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hub_client import Client
from tests.support.hub_server import HubStandIn, jsonl

TOKEN = "hf_" + "T" * 34
STRANGER = "hf_" + "U" * 34
MODEL = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"weights"}
BOUND = 40.0


@pytest.fixture
def repos(hub: HubStandIn) -> HubStandIn:
    hub.tokens |= {TOKEN}
    rights: dict[str, dict[str, Any]] = {"open": {}, "gated": {"gated": True}, "private": {"private": True}}
    for name, right in rights.items():
        hub.add("models", f"author/{name}", MODEL, **right)
        hub.add("datasets", f"author/{name}", {"train.jsonl": jsonl([{"text": "hello"}])}, **right)
    return hub


def failures(client: Client, *calls: str, **env: str) -> list[dict[str, Any]]:
    """The calls' errors, after what holds of each: class, exit code, bound, a mend, no token, nothing on the screen."""
    answer = client.run("\n".join(f"show(call({call}))" for call in calls), **env)
    assert answer.seconds < BOUND
    assert all(secret not in answer.stdout + answer.stderr for secret in (TOKEN, STRANGER))
    assert answer.stderr == ""
    for found in answer.values:
        assert (found["error"], found["exit"]) == ("HubError", 7), found
        assert found["message"] and found["hint"]
    return answer.values


def failure(client: Client, call: str, **env: str) -> dict[str, Any]:
    """One call's error."""
    return failures(client, call, **env)[0]


@pytest.mark.parametrize("token", ["", TOKEN])
def test_gated(repos: HubStandIn, client: Client, token: str) -> None:
    calls = [f'hub.resolve_{kind}, "author/gated", None' for kind in ("model", "dataset")]
    model, dataset = failures(client, *calls, HF_TOKEN=token)
    for found, page in ((model, "/author/gated"), (dataset, "/datasets/author/gated")):
        assert ("has not been let in" if token else "no token") in found["message"]
        assert f"{repos.url}{page} " in found["hint"] and "HF_TOKEN" in found["hint"] and ".env" in found["hint"]
        assert found["cause"] == "GatedRepoError"
    assert "--model PATH_OR_ID" in model["hint"] and "local path" in dataset["hint"]


@pytest.mark.parametrize("token", ["", TOKEN])
def test_missing_or_private(repos: HubStandIn, client: Client, token: str) -> None:
    names = ("author/nobody", "author/private")
    calls = [f'hub.resolve_model, "{name}", None' for name in names]
    for name, found in zip(names, failures(client, *calls, HF_TOKEN=token), strict=True):
        assert f"no model {name}" in found["message"] and "private" in found["hint"]


def test_a_token_the_hub_does_not_know(repos: HubStandIn, client: Client) -> None:
    found = failure(client, 'hub.resolve_model, "author/open", None', HF_TOKEN=STRANGER)
    assert "401" in found["message"] and "/settings/tokens" in found["hint"]


def test_a_token_that_is_none(repos: HubStandIn, client: Client) -> None:
    found = failure(client, 'hub.resolve_model, "author/open", None', HF_TOKEN=f"{TOKEN} {STRANGER}")
    assert "HF_TOKEN" in found["message"]


def test_an_unknown_revision(repos: HubStandIn, client: Client) -> None:
    calls = [f'hub.resolve_{kind}, "author/open", "v9"' for kind in ("model", "dataset")]
    for found in failures(client, *calls):
        assert '"v9"' in found["message"] and "/tree/main" in found["hint"]


def test_a_name_that_is_no_id(repos: HubStandIn, client: Client) -> None:
    assert "owner/name" in failure(client, 'hub.resolve_model, "a/b/c", None')["hint"]


def test_the_hub_is_down(repos: HubStandIn, client: Client) -> None:
    sha = repos.repos["models", "author/open"].refs["main"]
    rows = repos.repos["datasets", "author/open"].refs["main"]
    repos.status = 503
    calls = [
        'hub.resolve_model, "author/open", None',
        f'hub.download_model, "author/open", "{sha}", weights=True',
        f'hub.dataset_rows, "author/open", "{rows}", "train"',
    ]
    assert all("503" in found["message"] for found in failures(client, *calls))


def test_the_hub_does_not_answer(repos: HubStandIn, client: Client) -> None:
    repos.hang = True
    assert "no answer in time" in failure(client, 'hub.resolve_model, "author/open", None')["message"]


def test_a_login_page_answers(repos: HubStandIn, client: Client) -> None:
    repos.portal = True
    assert "is not the Hub" in failure(client, 'hub.resolve_model, "author/open", None')["message"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://me:pass@hub.invalid"])
def test_nobody_is_there(client: Client, endpoint: str) -> None:
    found = failure(client, 'hub.resolve_model, "author/open", None', HF_ENDPOINT=endpoint)
    assert "Cannot reach the Hub" in found["message"] and "pass" not in found["message"] + found["hint"]
    assert "HF_ENDPOINT" in found["hint"] and "local path" in found["hint"]


def test_offline_without_a_copy(repos: HubStandIn, client: Client) -> None:
    calls = [
        'hub.resolve_model, "author/open", None',
        f'hub.download_model, "author/open", "{"0" * 40}", weights=False',
        'hub.resolve_dataset, "author/open", None',
        f'hub.dataset_rows, "author/open", "{"0" * 40}", "train"',
    ]
    assert all("HF_HUB_OFFLINE" in found["message"] for found in failures(client, *calls, HF_HUB_OFFLINE="1"))
    assert repos.seen == []
