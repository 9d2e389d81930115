"""A training's forecast as `train --plan` shows it: a table for people, a document for scripts."""

from __future__ import annotations

from typing import Any

from twinctl.cli.output import Output, size
from twinctl.planning.forecast import Forecast

PARTS = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "overhead")


def show_forecast(output: Output, forecast: Forecast, **more: Any) -> None:
    """The whole forecast: a document with --json (with `more` in it), else tables and its warnings."""
    if output.json:
        output.document({"command": "train", "plan": forecast.document, "warnings": list(forecast.warnings), **more})
        return
    output.table(_rows(forecast))
    room = forecast.device.room_gib
    if forecast.alternatives:
        output.line("")
        rows = []
        for each in forecast.alternatives:
            chosen = each.method == forecast.recipe.method and each.checkpointing == forecast.choice.checkpointing
            fits = {None: "", True: "fits", False: "does not fit"}[each.fits] + (" (chosen)" if chosen else "")
            rows.append([each.method, "on" if each.checkpointing else "off", f"{each.gib:.1f}", fits.strip()])
        output.table(rows, header=("method", "checkpointing", "GPU GiB", "" if room is None else f"in {room:.1f} GiB"))
    for warning in forecast.warnings:
        output.warn(warning)


def _rows(forecast: Forecast) -> list[list[str]]:
    disk, memory = forecast.disk, forecast.choice.memory
    export = disk.merged + disk.gguf_q4_k_m
    parts = [f"{name} {getattr(memory, name):.2f}" for name in PARTS if memory and getattr(memory, name) >= 0.005]
    unknown = "not known: config.json does not say the model's size"
    if memory is not None:
        unknown = f"not predicted for a CPU; a GPU would need {memory.total:.1f} GiB"
    rows = [
        ["device", _device(forecast)],
        ["model", f"{forecast.model_text}, rows of {forecast.max_length:,} tokens"],
        ["chosen", f"{forecast.split_text}, {forecast.choice.why}"],
        ["memory", forecast.memory_text or unknown],
        ["", ", ".join(parts)],
        ["steps", forecast.steps_text],
        ["tokens", "not known" if forecast.tokens is None else f"{forecast.tokens:,}"],
        ["download", size(forecast.download) if forecast.download else "nothing"],
        ["disk", f"{size(disk.checkpoints)} checkpoints, {size(disk.result)} result; {size(disk.free)} free"],
        ["export", f"{size(export)} more: merged {size(disk.merged)}, GGUF q4_k_m {size(disk.gguf_q4_k_m)}"],
        ["tracking", forecast.tracking],
    ]
    if forecast.token is not None:
        rows.append(["HF_TOKEN", "there" if forecast.token else "none: a gated base cannot be downloaded"])
    return [row for row in rows if row[1]]


def _device(forecast: Forecast) -> str:
    device = forecast.device
    total = f"{device.total_gib:.1f} GiB, {device.room_gib:.1f} to use" if device.total_gib and device.room_gib else ""
    driver = f"driver {device.driver}" if device.driver else ""
    return ", ".join(part for part in (device.name, total, driver) if part)
