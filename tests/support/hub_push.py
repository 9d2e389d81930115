"""What the tests of push and pull ask of the Hub and of a refusal."""

from __future__ import annotations

from tests.support.hub_client import TOKEN, Done
from tests.support.hub_server import HubStandIn, Seen
from tests.support.hub_twin import SHARDS

PUSH = ("push", "me/my-twin", "--json")
MODEL = {
    "README.md",
    "config.json",
    "loss_curve.png",
    "model.safetensors.index.json",
    "twinctl.json",
    *SHARDS,
}


def writes(hub: HubStandIn) -> list[Seen]:
    """What changed something on the Hub, or tried to."""
    return [seen for seen in hub.seen if seen.method not in ("GET", "HEAD") and "validate-yaml" not in seen.path]


def refused(done: Done, code: int = 7) -> str:
    """What the refusal says, message and hint."""
    assert done.code == code, done
    error = done.document["error"]
    assert error["hint"], error
    assert TOKEN not in done.out + done.err
    return f"{error['message']} → {error['hint']}"
