"""What a training will take, known before it: memory, steps, time, download and disk.

What must stay true: no weight is downloaded and no library of the stack loaded for it; what cannot fit is refused here
with a recipe that would; what cannot be known is None.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.config.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.errors import EngineError
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import Plan
from twinctl.pipeline.run_view import RunView
from twinctl.planning.resource_estimate import HALF, Disk, disk_needs, pace, steps_and_tokens, to_download
from twinctl.wording import GIB

if TYPE_CHECKING:
    from twinctl.planning.gpu import Gpu
    from twinctl.planning.memory import Choice
    from twinctl.planning.model_shape import ModelShape

CPU = "cpu"
METHODS = {"lora": "LoRA", "qlora": "QLoRA", "full": "full"}


@dataclass(frozen=True)
class Device:
    """Where it will run. `room_gib`: what tensors may take; None on a CPU, and where the driver does not tell."""

    name: str
    driver: str | None = None
    total_gib: float | None = None
    room_gib: float | None = None


@dataclass(frozen=True)
class Alternative:
    """Another way to train at the same micro-batch, and whether it would fit; None on a CPU."""

    method: str
    checkpointing: bool
    gib: float
    fits: bool | None


@dataclass(frozen=True)
class Forecast:
    """`tokens`: real ones, in all epochs. `seconds`: by the pace of earlier trainings here, None without any.

    `download`: bytes of the base that are still to come. `token`: whether there is one for the Hub, None where the base
    is not from there. `tracking`: where the metrics go besides the workspace.
    """

    device: Device
    recipe: TrainRecipe
    parameters: int
    max_length: int
    choice: Choice
    alternatives: tuple[Alternative, ...]
    steps: int
    steps_per_epoch: int
    tokens: int | None
    seconds: float | None
    download: int
    disk: Disk
    token: bool | None
    tracking: str
    warnings: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """As plain values, for scripts and the event `plan`; `text` is for people."""
        values = {
            "text": self.line,
            **asdict(self),
            "recipe": self.recipe.model_dump(mode="json"),
            "warnings": list(self.warnings),
        }
        values["choice"]["accumulation"] = self.recipe.batch_size // self.choice.micro_batch
        memory = self.choice.memory
        values["choice"]["total_gib"] = memory and memory.total
        return values

    @property
    def line(self) -> str:
        """What will be done and how long it will take."""
        parts = (self.model_text, self.split_text, self.memory_text, self.choice.why)
        return f"{', '.join(part for part in parts if part)}; {self.steps_text}"

    @property
    def model_text(self) -> str:
        """The base's size, and how it is trained."""
        count, recipe = self.parameters, self.recipe
        size = f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.1f} M" if count else "unknown"
        return f"{size} parameters, {METHODS[recipe.method]}{'' if recipe.method == 'full' else f' r{recipe.rank}'}"

    @property
    def split_text(self) -> str:
        """Micro-batch and accumulation."""
        return f"micro-batch {self.choice.micro_batch} × {self.recipe.batch_size // self.choice.micro_batch}"

    @property
    def memory_text(self) -> str:
        """The predicted peak, and what there is; nothing on a CPU, for which it is not made."""
        memory, room = self.choice.memory, self.device.room_gib
        if memory is None or self.device.name == CPU:
            return ""
        return f"{memory.total:.1f}{'' if room is None else f' of {room:.1f}'} GiB"

    @property
    def steps_text(self) -> str:
        """How many steps, and how long they take, if that is known."""
        if not self.steps:
            return "how many steps is not known"
        taken = "the first ones will tell how long" if self.seconds is None else f"about {_span(self.seconds)}"
        return f"{self.steps:,} steps, {taken}"


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} h" if unit == "h" else f"{seconds / length:.0f} min"
    return f"{seconds:.0f} s"


def forecast(view: RunView, plan: Plan[TrainRecipe, TrainOptions, Any], *, alone: bool = False) -> Forecast:
    """What the plan of a training will take on this machine. The Hub may be asked, for a base that is not here yet.

    `alone`: as if nobody else used the GPU, where it is this very training that does. Raises EngineError when it cannot
    fit, UpstreamError or HubError when the base's config.json cannot be had.
    """
    recipe, options = plan.recipe, plan.options
    tokens = Result.of(view.workspace.artifact(plan.parents["tokens"]))
    assert tokens is not None
    base, max_length = view.base, tokens.tokens_info().max_length
    settings = TrainSettings(recipe=recipe, options=options)
    device, shape, choice = fit_here(base.folder(weights=False), settings, max_length, alone=alone)
    parameters = shape.parameters if shape else 0
    steps, an_epoch, seen = steps_and_tokens(recipe, tokens, max_length)
    known_pace = pace(view.workspace, plan, device.name, choice)
    download, remarks = to_download(base, parameters)
    disk = disk_needs(view.workspace, settings, parameters, choice)
    return Forecast(
        device=device,
        recipe=recipe,
        parameters=parameters,
        max_length=max_length,
        choice=choice,
        alternatives=tuple(_alternatives(shape, settings, choice, device, max_length)),
        steps=steps,
        steps_per_epoch=an_epoch,
        tokens=seen,
        seconds=seen / known_pace if seen and known_pace else None,
        download=download,
        disk=disk,
        token=_has_token() if base.local is None else None,
        tracking=_tracking(options),
        warnings=(*_warnings(settings, parameters, disk, device), *remarks),
    )


def fit_here(
    folder: Path, settings: TrainSettings, max_length: int, *, alone: bool = False
) -> tuple[Device, ModelShape | None, Choice]:
    """Device, the base's shape, and the plan for both. `alone`: as if nobody else used the GPU.

    Raises EngineError when there is no usable device or nothing fits. Needs only the folder's config.json.
    """
    from twinctl.planning.device import refuse_early
    from twinctl.planning.memory import choose
    from twinctl.planning.model_shape import ModelShape

    gpu, device = _device(settings.options, alone)
    shape = ModelShape.load(folder, gpu.capability if gpu else None)
    refuse_early(settings.options.device, shape.parameters if shape else 0)
    room = float("inf") if device.room_gib is None and device.name != CPU else device.room_gib
    try:
        return device, shape, choose(shape, settings, room_gib=room, max_length=max_length)
    except EngineError as error:
        taken = 0.0 if gpu is None or alone else gpu.total_gib - gpu.free_gib
        others = f"; others have {taken:.1f} of the GPU's {gpu.total_gib:.1f} GiB" if gpu and taken > 1 else ""
        raise EngineError(f"{error.message}{others}", error.hint) from error


def _device(options: TrainOptions, alone: bool) -> tuple[Gpu | None, Device]:
    from twinctl.planning.device import gpus_are_hidden, nvidia_driver
    from twinctl.planning.gpu import find_gpu

    if options.device == "cpu" or gpus_are_hidden():
        return None, Device(CPU)
    gpu, driver = find_gpu(), nvidia_driver()
    if gpu is None:
        return None, Device("NVIDIA GPU", driver) if driver else Device(CPU)
    room = gpu.room_gib(options.memory_limit, alone=alone)
    return gpu, Device(gpu.name, gpu.driver or driver, gpu.total_gib, room)


def _alternatives(
    shape: ModelShape | None, settings: TrainSettings, choice: Choice, device: Device, max_length: int
) -> Iterator[Alternative]:
    from twinctl.planning.memory import fits, memory_of

    for method in METHODS if shape else ():
        for checkpointing in (False, True):
            assert shape is not None
            recipe = settings.recipe.model_copy(update={"method": method})
            memory = memory_of(
                shape, recipe, micro_batch=choice.micro_batch, checkpointing=checkpointing, max_length=max_length
            )
            room = device.room_gib
            yield Alternative(method, checkpointing, memory.total, None if room is None else fits(memory, room))


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def _tracking(options: TrainOptions) -> str:
    if options.tracking in ("none", "comet-offline"):
        return {"none": "none", "comet-offline": "a Comet archive on disk"}[options.tracking]
    return "Comet" if os.environ.get("COMET_API_KEY") else "none: COMET_API_KEY is not set"


def _warnings(settings: TrainSettings, parameters: int, disk: Disk, device: Device) -> Iterator[str]:
    training, export = disk.checkpoints + disk.result, disk.merged + disk.gguf_q4_k_m
    if training > disk.free:
        yield (
            f"checkpoints and result need {training / GIB:.1f} GiB on the workspace's disk, which has "
            f"{disk.free / GIB:.1f} GiB: free space, or choose another --workspace"
        )
    elif disk.result + export > disk.free:
        yield (
            f"there is room to train, but not to export: merged model and GGUF need {export / GIB:.1f} GiB more, "
            f"of {disk.free / GIB:.1f} GiB free"
        )
    if settings.recipe.method == "qlora":
        yield f"a 4-bit run: export needs the 16-bit base ({parameters * HALF / GIB:.1f} GiB)"
    if device.room_gib is None and device.name != CPU:
        yield "the driver does not tell the GPU's memory: whether it fits is seen when the training starts"
