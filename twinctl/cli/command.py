"""How a command is made: its own parameters, an option for each field of its recipe, and what every command shares.

What must stay true: an option of a field is made from the field, so name, choices, range, default and help are written
once, in `config`; a flag that was not given is not among the flags, so that the other layers decide.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel, BeforeValidator
from typer.core import TyperCommand

from twinctl.cli.output import Output
from twinctl.cli.session import Session
from twinctl.cli.typer_internals import Context, HelpFormatter
from twinctl.config import presets
from twinctl.config.describe import default_text, range_text
from twinctl.config.recipe import flag_of, option_names, schema_of

COMMON, OTHER = "Common", "Options"
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", "-w", help="The workspace's folder. [default: ./.twinctl]", rich_help_panel=COMMON, metavar="DIR"
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run", help="The run to work on. [default: the current one]", rich_help_panel=COMMON, metavar="NAME"
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="The book's recipe, or the bundled model for a CPU. [default: the run's, else twinllama]",
        rich_help_panel=COMMON,
        metavar=f"[{'|'.join(presets.NAMES)}]",
    ),
]
ModelPathOption = Annotated[
    Path | None,
    typer.Option(
        "--model-path",
        help="Where the run's base model is stored on this machine.",
        rich_help_panel=COMMON,
        metavar="FOLDER",
    ),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait while another process works on it.", rich_help_panel=COMMON)
]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Start over; do not resume or reuse.", rich_help_panel=COMMON)
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.", rich_help_panel=COMMON)]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress.", rich_help_panel=COMMON)]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=COMMON)]
Flags = Mapping[str, Any]


class PanelCommand(TyperCommand):
    """A command whose --help shows its options in sections, without rich."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """One section for each panel: the arguments first, the common options last."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for param in self.get_params(ctx):
            own = "Arguments" if param.param_type_name == "argument" else COMMON if param.name == "help" else OTHER
            record = param.get_help_record(ctx)
            if record is not None:
                panels.setdefault(getattr(param, "rich_help_panel", None) or own, []).append(record)
        last = {title: panels.pop(title, []) for title in (OTHER, COMMON)}
        for title, records in {**panels, **last}.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def command(
    app: typer.Typer,
    section: str = "",
    *models: type[BaseModel],
    panels: Mapping[str, Sequence[str]] | None = None,
    workspace: bool = True,
    run: bool = True,
    cls: type[PanelCommand] = PanelCommand,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the app's command.

    The function gets a `session`, with the workspace and the run that the common options name (a command without a
    workspace: the `output` alone); where it has models, `flags`: the given values of their fields by name; and its own
    parameters. `section`: the models' section of twinctl.toml. `panels`: which of its own parameters each section of
    --help has; the others are in “Options”.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        title_of = {name: title for title, names in (panels or {}).items() for name in names}
        own = [
            _in_panel(parameter, title_of[name]) if name in title_of else parameter
            for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
            if name not in (("session", "flags") if workspace else ("output",))
        ]
        declared = {parameter.name for parameter in own}  # by the command itself, as an argument
        fields = {name: model for model in models for name in model.model_fields if flag_of(model, name)}
        fields = {name: model for name, model in fields.items() if name not in declared}
        given = [_field_parameter(section, model, name) for name, model in fields.items()]

        @functools.wraps(function)
        def wrapper(**values: Any) -> None:
            values.pop("debug")  # the root command looks for it
            json, quiet = values.pop("json"), values.pop("quiet")
            if not workspace:
                function(Output(json=json, quiet=quiet), **values)
                return
            # A command without the common --run may have an option of that name of its own: pull.
            run_name = values.pop("run_name") if run else None
            session = Session.open(values.pop("workspace"), run_name, json=json, quiet=quiet)
            if not models:
                function(session, **values)
                return
            flags = {name: value for name in fields if (value := values.pop(name)) not in (None, [])}
            function(session, flags, **values)

        parameters = [*own, *given, *_common(workspace=workspace, run=run)]
        _set_signature(wrapper, parameters)
        app.command(cls=cls)(wrapper)
        return wrapper

    return decorate


def _set_signature(function: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Let Typer, which reads a function's signature and annotations, see these parameters."""
    required = [parameter for parameter in parameters if parameter.default is inspect.Parameter.empty]
    optional = [parameter for parameter in parameters if parameter.default is not inspect.Parameter.empty]
    function.__signature__ = inspect.Signature([*required, *optional])  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del function.__wrapped__  # type: ignore[attr-defined]  # its own signature would be found there


def _in_panel(parameter: inspect.Parameter, title: str) -> inspect.Parameter:
    """The parameter with its option in this section of --help."""
    takes, option = get_args(parameter.annotation)
    placed = copy(option)
    placed.rich_help_panel = title
    return parameter.replace(annotation=Annotated[takes, placed])


def _common(*, workspace: bool, run: bool) -> list[inspect.Parameter]:
    """The options that every command has."""
    options = {
        **({"workspace": (WorkspaceOption, None)} if workspace else {}),
        **({"run_name": (RunOption, None)} if run else {}),
        "json": (JsonOption, False),
        "quiet": (QuietOption, False),
        "debug": (DebugOption, False),
    }
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]


def _field_parameter(section: str, model: type[BaseModel], name: str) -> inspect.Parameter:
    """A field as a parameter that Typer makes an option of; None where it is not given."""
    flag, schema = flag_of(model, name), schema_of(model)[name]
    assert flag is not None
    takes, metavar = _taken(model, name)
    may_be_number = takes == str | None and any(part.get("type") == "integer" for part in schema.get("anyOf", ()))
    names, default = option_names(model, name), default_text(section, name, schema)
    if schema.get("type") == "boolean" and "/" in names[0]:
        on, off = names[0].split("/")
        default = default.replace("true", on).replace("false", off)
    facts = [range_text(schema), f"default: {default}" if default not in ("", "unset", "empty") else ""]
    about = schema["description"]
    starts_with_value = about.split()[0].rstrip(":") in schema.get("enum", ())
    shown = "; ".join(fact for fact in facts if fact).replace("`", "")
    option = typer.Option(
        *names,
        help=(about if starts_with_value else about[0].upper() + about[1:]) + "." + (f" [{shown}]" if shown else ""),
        metavar=flag.takes or metavar,
        parser=_number_or_text if may_be_number else None,
        show_default=False,
        rich_help_panel=flag.panel,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[takes, option])


def _taken(model: type[BaseModel], name: str) -> tuple[Any, str | None]:
    """The type that the command line reads a field as, and what help calls it. Choices, and what may be one of several
    types, are read as text: the recipe checks them, and its errors name the flag.
    """
    field = model.model_fields[name]
    origin, has_parser = get_origin(field.annotation), any(isinstance(item, BeforeValidator) for item in field.metadata)
    if choices := schema_of(model)[name].get("enum"):
        return str | None, f"[{'|'.join(choices)}]"
    if origin is tuple:
        return list[str] | None, None
    is_union = origin in (Union, types.UnionType)
    members = [part for part in get_args(field.annotation) if part is not types.NoneType]
    of = field.annotation if not is_union else members[0] if len(members) == 1 else str
    return (of if of in (int, float, bool) and not has_parser else str) | None, None


def _number_or_text(text: str) -> int | str:
    """What is one or the other, so that an error shows a number as it was typed."""
    try:
        return int(text)
    except ValueError:
        return text
