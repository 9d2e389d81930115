"""How prepared samples and the audit are shown: readable in colour, without colour, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from twinctl.cli.output import Output
from twinctl.config.secrets import redact

if TYPE_CHECKING:
    from twinctl.data.inspect_samples import InspectedSample

BAR = 40


def as_json(sample: InspectedSample) -> dict[str, Any]:
    """The sample for scripts, its text whole and in parts."""
    return {**asdict(sample), "text": "".join(part.text for part in sample.parts)}


def show_sample(output: Output, sample: InspectedSample) -> None:
    """The sample on stdout. Masked text is dim, or in ⟦brackets⟧ without colour; special tokens stand out."""
    from rich.text import Text

    learnt = "all learnt" if sample.trained == sample.tokens else f"{sample.trained} learnt, the rest ⟦masked⟧"
    output.line(f"── {sample.place}  {sample.role}  {sample.split}  {sample.tokens} tokens, {learnt}")
    if output.out.is_terminal and not output.out.no_color:
        text = Text()
        for part in sample.parts:
            colour = "magenta" if part.special else "green"
            text.append(redact(part.text), f"bold {colour}" if part.special else colour if part.trained else "dim")
        output.out.print(text, soft_wrap=True)
    else:
        runs = groupby(sample.parts, key=lambda part: part.trained)
        texts = [(learns, "".join(part.text for part in run)) for learns, run in runs]
        output.line("".join(text if learns else f"⟦{text}⟧" for learns, text in texts))
    output.line("")


def sections(audit: Mapping[str, Any], metrics: Mapping[str, Any], training: str) -> dict[str, list[list[str]]]:
    """What was read, by source, the lengths as a histogram, and what they come to."""
    return {
        "sources": [
            ["  name", "role", "read", "samples", "held out", "tokens", "dropped", "cleaned"],
            *([f"  {each['name']}", each["role"], *_figures(each)] for each in audit["sources"]),
        ],
        "lengths (tokens, training samples)": _bars(audit["histogram"]),
        "packing": [
            [
                f"  {audit['packing']['rows']:,} rows of {audit['packing']['room']:,}, "
                f"{audit['packing']['efficiency']:.1%} full; {metrics['trained_tokens']:,} tokens learnt an epoch"
            ]
        ],
        "training": [[f"  {training}"]],
    }


def _figures(source: dict[str, Any]) -> list[str]:
    counted = [
        ", ".join(f"{count:,} {what}" for what, count in source[name].items()) for name in ("dropped", "cleaned")
    ]
    numbers = [source["read"], source["samples"], source["eval"], source["tokens"]]
    return [*(f"{number:,}" for number in numbers), *(text or "–" for text in counted)]


def _bars(histogram: dict[str, list[int]]) -> list[list[str]]:
    edges, counts = histogram["edges"], histogram["counts"]
    most = max([*counts, 1])
    return [
        [f"  {low + 1:>6,}–{high:<6,}", f"{count:>8,}", "█" * round(BAR * count / most) or ("▏" if count else "")]
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
