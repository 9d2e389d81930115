"""A push whose large files go by Xet, with the real client against a store over HTTP: what goes wrong on the way."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import pytest

from tests.support.hub_client import TOKEN, Client
from tests.support.hub_publish import CODE
from tests.support.hub_push import MODEL, PUSH, refused
from tests.support.hub_server import Fault, HubStandIn, sha256
from tests.support.hub_twin import SHARDS, weights
from tests.support.waiting import hashes_of, until
from tests.support.xet_store import XetStore

FILES = {f"{number}.safetensors": random.Random(number).randbytes(100_000) for number in range(2)}
SEND = CODE + "show(call(send)); show(said)"
QUICK = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "1s", "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2"}


@pytest.fixture
def store(hub: HubStandIn, client: Client) -> Iterator[XetStore]:
    """The store; whatever happens, it sees no token of the Hub's, and nothing here keeps one or a signed address."""
    hub.xet = XetStore()
    yield hub.xet
    told = {seen.authorization for seen in hub.seen if seen.host == "localhost"}
    assert told <= {None, *(f"Bearer {token}" for token in hub.xet.tokens)}
    for path in client.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert TOKEN.encode() not in content and b"signature=" not in content, path


@pytest.fixture
def sender(hub: HubStandIn, client: Client, store: XetStore) -> Client:
    """A client with two large files to send."""
    (client.home / "stage").mkdir()
    for name, data in FILES.items():
        (client.home / "stage" / name).write_bytes(data)
    hub.account(TOKEN, "me")
    client.env |= {"HF_TOKEN": TOKEN, **QUICK}
    return client


@pytest.fixture
def twin_by_xet(twin_client: Client, store: XetStore) -> Client:
    """A twin to push."""
    del twin_client.env["HF_HUB_DISABLE_XET"]
    twin_client.env |= QUICK
    return twin_client


def xorbs_sent(hub: HubStandIn, before: int = 0) -> list[str]:
    """The addresses of the pieces that were sent."""
    return [seen.path for seen in hub.seen[before:] if seen.method == "PUT"]


def arrived(hub: HubStandIn, name: str = "me/twin") -> dict[str, str]:
    """The large files of the repo, by digest."""
    files = hub.repos["models", name].files("main")
    return {path: sha256(content) for path, content in files.items() if path.endswith(".safetensors")}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("PUT", "^/xorb/", status=503), "the Hub's file store answered 503; trying again"),
        (Fault("POST", "/xorb-grants/", status=429, headers={"Retry-After": "1"}), "file store asks to slow down"),
        (Fault("PUT", "^/xorb/", drop=20_000), "the connection to the Hub's file store broke; trying again"),
        (Fault("PUT", "^/xorb/", times=3, status=403), ""),
        (Fault("POST", "/v2/shards", status=500), "the Hub's file store answered 500; trying again"),
        (Fault("POST", "/v2/shards", drop=10), "the connection to the Hub's file store broke; trying again"),
        (Fault("POST", "/xorb-grants/", status=401), "the Hub's file store wants a new pass; asking for one"),
        (Fault("POST", "/v2/shards", status=401), "the Hub's file store wants a new pass; asking for one"),
        (Fault("GET", "/xet-write-token/", status=503), "the Hub answered 503; trying again"),
    ],
    ids=["503", "429", "dropped", "403-signed", "500-shard", "dropped-shard", "401", "401-shard", "503-pass"],
)
def test_what_passes_is_waited_for_and_told(hub: HubStandIn, sender: Client, fault: Fault, told: str) -> None:
    hub.faults = [fault]
    done = sender.run(SEND)
    assert "sha" in done.values[0], done.values
    assert fault.times == 0
    assert arrived(hub) == {name: sha256(data) for name, data in FILES.items()}
    assert any(told in line for line in done.values[1]), done.values[1]
    assert not any("http" in line for line in done.values[1]), "no address, which may be signed"
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            Fault("POST", "/xorb-grants/", status=401),
            "localhost, does not take the pass that the Hub gave for it (401)",
        ),
        (Fault("POST", "/v2/shards", status=403), "localhost, does not take the pass that the Hub gave for it (403)"),
        (Fault("POST", "/v2/shards", status=413), "larger than the Hub takes (413)"),
        (Fault("POST", "/xorb-grants/", status=429), "The Hub asks to slow down (429)"),
        (Fault("POST", "/v2/shards", status=503), "The Hub's file store, localhost, answered 503."),
        (Fault("POST", "/v2/shards", drop=10), "Cannot reach the Hub's file store, localhost."),
        (Fault("GET", "/xet-write-token/", status=403), "does not let this token write to me/twin (403)"),
        (Fault("GET", "/xet-write-token/", status=503), "The Hub returned 503."),
        (Fault("POST", "/commit/", status=412), "was changed while this was being sent (412)"),
    ],
    ids=["401", "403", "413", "429", "503", "dropped", "403-pass", "503-pass", "412"],
)
def test_what_stops_a_push_is_said_within_seconds(hub: HubStandIn, sender: Client, fault: Fault, told: str) -> None:
    fault.times = 99
    hub.faults = [fault]
    done = sender.run(SEND)
    found = done.values[0]
    assert found.get("exit") == 7, found
    assert told in found["message"]
    assert found["hint"]
    assert done.seconds < 40
    assert list(hub.repos["models", "me/twin"].files("main")) == [".gitattributes"], "nothing half done"


@pytest.mark.parametrize("at", ["^/xorb/", "/v2/shards", "/xet-write-token/"])
def test_a_silent_store_is_told_of_before_the_client_gives_it_up(hub: HubStandIn, sender: Client, at: str) -> None:
    method = {"^/xorb/": "PUT", "/v2/shards": "POST"}.get(at, "GET")
    hub.faults = [Fault(method, at, hang=True)]
    code = SEND.replace("said = []", "said = []\nfrom twinctl.hub import retry_messages\nretry_messages.SILENCE = 1.0")
    done = sender.run(code, HF_XET_CLIENT_READ_TIMEOUT="3s")
    assert "sha" in done.values[0], done.values
    silent = done.values[1].index("no word from the Hub's file store for 1 s; still waiting")
    assert "broke; trying again" in done.values[1][silent + 1]


def test_a_pass_that_ends_is_asked_for_anew(hub: HubStandIn, sender: Client, store: XetStore) -> None:
    store.lives = 20
    assert "sha" in sender.run(SEND).values[0]
    used = {seen.authorization for seen in hub.seen if seen.host == "localhost"}
    assert len(used) > 1, used
    assert arrived(hub) == {name: sha256(data) for name, data in FILES.items()}


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("pieces", signal.SIGKILL),
        ("pieces", signal.SIGINT),
        ("shards", signal.SIGKILL),
        ("shards", signal.SIGTERM),
    ],
)
def test_a_push_that_was_ended_goes_on_with_what_is_missing(
    hub: HubStandIn, twin_by_xet: Client, store: XetStore, at: str, number: signal.Signals
) -> None:
    hub.faults = [Fault("PUT", "^/xorb/", hang=True) if at == "pieces" else Fault("POST", "/v2/shards", hang=True)]
    running = twin_by_xet.start(*PUSH)
    until(lambda: hub.faults[0].times == 0, 60)
    running.process.send_signal(number)
    done = running.done(20)
    assert done.code == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], done
    assert TOKEN not in done.out + done.err
    assert list(hub.repos["models", "me/my-twin"].files("main")) == [".gitattributes"]
    before, had_come = len(hub.seen), xorbs_sent(hub)
    assert twin_by_xet.command(*PUSH).ok().document["cached"] is False
    assert at == "pieces" or not {*had_come} & {*xorbs_sent(hub, before)}, "what had come was there already"
    assert set(hub.repos["models", "me/my-twin"].files("main")) == {*MODEL, ".gitattributes"}
    assert arrived(hub, "me/my-twin") == {name: sha256(weights(seed)) for seed, name in enumerate(SHARDS)}
    before = len(hub.seen)
    assert twin_by_xet.command(*PUSH).ok().document["cached"] is True
    assert xorbs_sent(hub, before) == []


def test_a_pull_by_xet_says_that_the_store_is_not_well(hub: HubStandIn, twin_by_xet: Client) -> None:
    twin_by_xet.command(*PUSH).ok()
    files = (twin_by_xet.home / ".twinctl/artifacts/merge").rglob("*.safetensors")
    hub.xet_hashes = hashes_of(files)
    hub.faults = [Fault("GET", "/reconstructions/", times=99, status=503)]
    done = twin_by_xet.command("pull", "me/my-twin", "-w", "there", "--json")
    told = refused(done)
    assert "The Hub's file store, localhost, answered 503." in told
    assert "HF_HUB_DISABLE_XET=1" in told
    assert "the Hub's file store answered 503; trying again" in done.err


def test_a_base_by_xet_says_so_too(hub: HubStandIn, client: Client, store: XetStore) -> None:
    """As train brings it."""
    path = client.home / "model.safetensors"
    path.write_bytes(FILES["0.safetensors"])
    sha = hub.add("models", "author/base", {"config.json": b"{}", path.name: path.read_bytes()})
    hub.xet_hashes = hashes_of([path])
    hub.faults = [Fault("GET", "/reconstructions/", times=99, status=503)]
    done = client.run(f'show(call(hub.download_model, "author/base", "{sha}", weights=True))', **QUICK)
    assert "The Hub's file store, localhost, answered 503." in str(done.values)
    assert done.seconds < 40
