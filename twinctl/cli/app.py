"""The root command: commands imported when they run, and errors turned into messages and exit codes.

What must stay true: the root's --help imports typer and nothing of ours beyond this module and `errors`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from twinctl.errors import Interrupted, SigTerm, Terminated, TwinctlError, UsageError, explained

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

COMMANDS = {
    "demo": "Everything at once on the bundled tiny model and author, in ./twinctl-demo.",
    "init": "Write a commented twinctl.toml here, and a .env to put the tokens in.",
    "prepare": "Turn rows of text into tokens that are ready to train on.",
    "train": "Fine-tune the model on the prepared tokens; the same command resumes.",
    "chat": "Talk to the twin: one prompt with -p, else a conversation.",
    "export": "Make the files to take away: adapter, merged 16-bit model, GGUF.",
    "push": "Send the twin to the Hugging Face Hub: private, checked, only what is missing.",
    "pull": "Bring a pushed twin back into a workspace.",
    "card": "Print the model card that push would send.",
    "status": "What is there, in which state, since when, how large, and why stale.",
    "logs": "What happened in a phase, step by step; --follow goes on watching.",
    "stop": "Stop what is being worked on; training writes a checkpoint first.",
    "doctor": "Check this machine: Python, GPU, libraries, disk, tokens, Comet, llama.cpp.",
    "compare": "LoRA, QLoRA and full fine-tuning (or any runs) side by side: memory, speed, loss.",
    "diff": "Two runs side by side: every field and metric that differs.",
    "inspect": "One phase in full: recipe with origins, inputs, attempts, metrics.",
    "runs": "List the runs; use, rename or rm one.",
    "clean": "Remove what no run points to, and what crashes left.",
    "path": "Print where a result lies: tokens, adapter, model or gguf.",
    "docs": "Show a page of the manual; without a topic, the list of topics.",
}


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: Context) -> list[str]:
        """All commands, in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            self.commands.update(dict.fromkeys(COMMANDS, None))  # type: ignore[arg-type]  # only names: for “did you mean”
            return None
        return typer.main.get_command(import_module(f"twinctl.cli.{cmd_name}").app)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The table, without importing what it lists."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: Context) -> Any:
        """Run the command; a failure is shown once, with its mend, and becomes the exit code."""
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt, SigTerm) as error:
            if _is_typers(error):
                _redact(error)
                if "--json" not in words:
                    raise  # a usage error, which typer shows with the command's usage
            raise typer.Exit(_show(error, words)) from error


def _show(error: BaseException, words: list[str]) -> int:
    """Show the failure and return its exit code."""
    from twinctl.cli.output import Output

    ours = _as_ours(error, words)
    output = Output(json="--json" in words)
    output.error(ours)
    if "--debug" in words:
        output.traceback(error)
    return ours.exit_code


def _as_ours(error: BaseException, words: list[str]) -> TwinctlError:
    """Any failure as one with a mend and an exit code."""
    if isinstance(error, SigTerm):
        return Terminated("terminated", "the same command resumes or restarts it")
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if _is_typers(error):
        command = next((f"{word} " for word in words if word in COMMANDS), "")
        return UsageError(error.format_message(), f"twinctl {command}-h")  # type: ignore[attr-defined]
    if known := explained(error):
        return known
    hint = "this is a bug in twinctl" + ("" if "--debug" in words else "; the traceback: add --debug")
    return TwinctlError(f"{type(error).__name__}: {error}", hint)


def _redact(error: Any) -> None:
    """A usage error quotes what was typed, before any command has loaded the secrets."""
    from twinctl.config.secrets import load_secrets, redact

    load_secrets()
    error.message = redact(error.message)


def _is_typers(error: BaseException) -> bool:
    return type(error).__module__.startswith("typer.")


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from twinctl import __version__

        typer.echo(f"twinctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune an open-weight model on one person's writing: an LLM twin.

    \b
    The usual way, each step cached, resumable and to be inspected on its own:
      twinctl prepare -d posts.jsonl     rows → tokens
      twinctl train --rank 64            tokens → adapter
      twinctl chat                       talk to it
      twinctl export --gguf              files to take away
      twinctl push me/my-twin --dry-run  what would go to the Hub
    """


def main() -> None:
    """The console script."""
    import signal

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except SigTerm as error:  # before the command began
        raise SystemExit(_show(error, sys.argv)) from error


def _terminate(number: int, frame: object) -> None:
    raise SigTerm


if __name__ == "__main__":
    main()
