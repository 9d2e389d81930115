"""`twinctl doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from twinctl.cli.command import command
from twinctl.cli.output import Output
from twinctl.cli.session import Session
from twinctl.doctor.checks import Finding
from twinctl.doctor.examine import examine
from twinctl.errors import CheckFailed

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, run=False)
def doctor(
    session: Session,
) -> None:
    """Check this machine: Python, GPU, libraries, disk, tokens, Comet, llama.cpp; each with the command that fixes it.

    \b
      twinctl doctor
      twinctl doctor -w /big/disk/twin    for a workspace there
      twinctl doctor --json
    """
    findings = []
    for finding in examine(session.workspace.root, session.output.say):
        findings.append(finding)
        if not session.output.json:
            _show(session.output, finding)
    failed = [finding.name for finding in findings if finding.state == "failed"]
    if session.output.json:
        session.output.document({"command": "doctor", "checks": [asdict(finding) for finding in findings]})
        raise typer.Exit(CheckFailed.exit_code if failed else 0)
    if failed:
        raise CheckFailed(f"not in order: {', '.join(failed)}", "fix it as shown above, then: twinctl doctor")


def _show(output: Output, finding: Finding) -> None:
    """A line for what was found, and one below for its hint."""
    output.table([[f"{finding.name:<11}", f"{finding.state:<7}", finding.found]])
    if finding.hint:
        output.table([[" " * 11, f"{'→':>7}", finding.hint]])
