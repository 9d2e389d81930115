"""The root command: commands imported when they run, and errors turned into messages and exit codes.

What must stay true: the root's --help imports typer and nothing of ours beyond this module and `errors`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from twinctl.cli.typer_internals import Command, Context, HelpFormatter, TyperException
from twinctl.errors import Interrupted, SigTerm, Terminated, TwinctlError, UsageError, explained

GROUPS = {
    "Workflow": {
        "demo": "Run the whole workflow on a bundled tiny model and author.",
        "init": "Write a commented twinctl.toml, and a .env to put the tokens in.",
        "prepare": "Turn rows of text into tokens that are ready to train on.",
        "train": "Fine-tune the model on the prepared tokens, or resume it.",
        "chat": "Talk to the twin: one prompt with -p, else a conversation.",
        "export": "Write the exportable files: adapter, merged 16-bit model, GGUF.",
        "push": "Upload the twin to the Hugging Face Hub: private, and checked.",
        "pull": "Download a pushed twin into a workspace.",
    },
    "Look": {
        "status": "List the results: state, age, size, and why one is stale.",
        "inspect": "Show one phase in full: recipe, inputs, attempts, metrics.",
        "logs": "Show what happened in a phase; --follow keeps watching.",
        "diff": "Compare two runs: every field and metric that differs.",
        "compare": "Compare trainings by method or by run: memory, speed, loss.",
        "card": "Print the model card that push would upload.",
        "path": "Print the path of a result: tokens, adapter, model or gguf.",
    },
    "Workspace": {
        "runs": "List the runs; use, rename or rm one.",
        "clean": "Remove what no run points to, and what crashes left.",
        "stop": "Stop a phase that is running; training writes a checkpoint first.",
    },
    "Machine": {
        "doctor": "Check this machine: Python, GPU, libraries, disk, tokens.",
        "docs": "Show a page of the manual; without a topic, the list of topics.",
    },
}
COMMANDS = {name: about for group in GROUPS.values() for name, about in group.items()}
ARGUMENTS = "twinctl.arguments"  # where a context keeps what was typed


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is asked for."""

    def __init__(self, **settings: Any) -> None:
        """Register every command by its name, which is what “did you mean” chooses from."""
        super().__init__(**settings)
        for name, about in COMMANDS.items():
            self.add_command(TyperCommand(name, help=about))

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(import_module(f"twinctl.cli.{cmd_name}").app)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """One section for each group, without importing what it lists."""
        width = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), about) for name, about in group.items()])

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Keep what was typed for `invoke`, since parsing takes it apart."""
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:
        """Run the command; a failure is shown once, with its hint, and becomes the exit code."""
        arguments = ctx.meta[ARGUMENTS]
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt, SigTerm) as error:
            if isinstance(error, TyperException):
                from twinctl.config.secrets import load_secrets, redact

                load_secrets()  # no command has yet, and a usage error quotes what was typed
                error.message = redact(error.message)
                if "--json" not in arguments:
                    raise  # a usage error, which typer shows with the command's usage
            raise typer.Exit(_show(error, arguments)) from error


def _show(error: BaseException, arguments: list[str]) -> int:
    """Show the failure and return its exit code."""
    from twinctl.cli.output import Output

    ours = _explained(error, arguments)
    output = Output(json="--json" in arguments)
    output.error(ours)
    if "--debug" in arguments:
        output.traceback(error)
    return ours.exit_code


def _explained(error: BaseException, arguments: list[str]) -> TwinctlError:
    """Any failure as one with a hint and an exit code."""
    if isinstance(error, SigTerm):
        return Terminated("terminated", "the same command resumes or restarts it")
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, TyperException):
        command = next((f"{word} " for word in arguments if word in COMMANDS), "")
        return UsageError(error.format_message(), f"twinctl {command}-h")
    if known := explained(error):
        return known
    hint = "this is a bug in twinctl" + ("" if "--debug" in arguments else "; the traceback: add --debug")
    return TwinctlError(f"{type(error).__name__}: {error}", hint)


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
    The usual order; each step is cached, resumable and can be inspected:
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
