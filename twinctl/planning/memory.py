"""How much memory a training takes, and the plan that fits: arithmetic over the model's shape, nothing is loaded.

What must stay true: a prediction is never under the measured peak (torch's reserved memory) by more than 5% nor over
it by more than 20%; the plan leaves room for the former; micro-batch and checkpointing are all that it chooses, so it
never changes the result; the hint of a refusal is a recipe that was tried here and fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from twinctl.config.train import TrainRecipe, TrainSettings
from twinctl.errors import EngineError
from twinctl.planning.model_shape import ModelShape
from twinctl.wording import GIB

# Bytes a number.
HALF, SINGLE = 2, 4
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # blocks of 64 with an 8-bit scale, whose own scale is for 256 of them
ADAM, ADAM_8BIT = 8, 2
# bitsandbytes keeps the state of smaller tensors, and transformers that of embeddings, in 32 bit.
SMALL_TENSOR = 4096

# Fitted to the peaks of an 8B Llama on one H200: torch 2.11, Unsloth 2026.10.9, rank 32, rows of 2,048, LoRA and QLoRA,
# micro-batches 1 to 16. Numbers of 16 bit that one layer keeps for each token until its backward pass:
KEPT_HIDDEN = 4  # the residual stream and its norm, before attention and before the MLP
KEPT_ATTENTION = 2  # q, and what attention gave
KEPT_KV = 2  # k and v
KEPT_SPREAD = 2  # k and v spread over all heads, for kernels that are not for packed rows; measured with torch 2.11's
KEPT_MLP = 2  # gate and up; their product is made again in the backward pass
KEPT_MLP_FULL = 4  # without Unsloth's LoRA kernels the product and the activation are kept too
BACKWARD_MLP = 3  # what the backward pass of one MLP holds beside these
OFFLOAD_HIDDEN = 3  # with checkpointing: the last layer's input, and the buffers to and from the CPU
OFFLOAD_FROM = 512  # shorter rows keep the layers' inputs on the GPU
OVERHEAD = 0.35  # GiB: workspaces of the matrix products, and what the allocator cannot use
# Unsloth's loss makes the logits of so many tokens at once, or an eighth of them all, in 16 and 32 bit and their
# gradient, up to 2 GiB.
LOGIT_ROWS, LOGIT_SHARE, LOGIT_BYTES, LOGIT_MOST = 512, 8, 8, 2 * GIB

ENOUGH_TOKENS = 4096  # in a forward pass; more are slower on an H200, not faster
SPARE = 1.05  # a prediction may be 5% under the peak
CPU_MICRO_BATCH = 2
SHORTEST = 256  # the shortest length that a refusal advises
LEANER = {"full": ("lora", "qlora"), "lora": ("qlora",), "qlora": ()}


@dataclass(frozen=True)
class Memory:
    """The peak of a training, by what holds it, in GiB. `activations`: what the backward pass needs and works with."""

    weights: float
    adapters: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    overhead: float

    @property
    def total(self) -> float:
        """The predicted peak."""
        return float(sum(asdict(self).values()))


@dataclass(frozen=True)
class Choice:
    """How a training will use the machine, and why, in words. `memory`: None where the model's shape is not known."""

    micro_batch: int
    checkpointing: bool
    memory: Memory | None
    why: str


# The peak


def memory_of(
    shape: ModelShape, recipe: TrainRecipe, *, micro_batch: int, checkpointing: bool, max_length: int
) -> Memory:
    """The predicted peak on a GPU. Rows count in full length, packed or not."""
    tokens = micro_batch * max_length
    weights, overhead = _weights(shape, recipe)
    adapters, gradients, optimizer = _trained(shape, recipe)
    offloaded = recipe.method != "full" and max_length >= OFFLOAD_FROM
    kept, backward = _activations(shape, recipe, tokens, checkpointing, offloaded)
    logit_rows = min(tokens, max(LOGIT_ROWS, tokens // LOGIT_SHARE))
    logits = min(logit_rows * shape.vocab * LOGIT_BYTES, LOGIT_MOST)
    return Memory(
        weights=weights / GIB,
        adapters=adapters / GIB,
        gradients=gradients / GIB,
        optimizer=optimizer / GIB,
        activations=(kept + max(backward - logits, 0)) / GIB,  # the logits are gone when the first layer goes back
        logits=logits / GIB,
        overhead=overhead / GIB,
    )


def _weights(shape: ModelShape, recipe: TrainRecipe) -> tuple[float, float]:
    """Bytes of the base, and of what is held beside it whatever the batch is."""
    plain = SINGLE if recipe.dtype == "float32" else HALF
    if recipe.method != "qlora":
        return shape.parameters * plain, OVERHEAD * GIB
    unpacked = max(rows * columns for rows, columns in shape.linear.values()) * plain
    return shape.in_layers * NF4 + shape.embeddings * plain, OVERHEAD * GIB + unpacked


def _trained(shape: ModelShape, recipe: TrainRecipe) -> tuple[float, float, float]:
    """Bytes of the adapters, of the gradients, and of the optimizer's state."""
    eight_bit = recipe.optimizer == "adamw_8bit"
    if recipe.method == "full":
        embedding = shape.vocab * shape.hidden
        state = (shape.parameters - embedding) * (ADAM_8BIT if eight_bit else ADAM) + embedding * ADAM
        return 0, shape.parameters * (SINGLE if recipe.dtype == "float32" else HALF), state
    sizes = shape.adapters(recipe)
    state = sum(size * (ADAM_8BIT if eight_bit and size >= SMALL_TENSOR else ADAM) for size in sizes)
    trained = shape.layers * sum(sizes) * SINGLE
    return trained, trained, shape.layers * state


def _activations(
    shape: ModelShape, recipe: TrainRecipe, tokens: int, checkpointing: bool, offloaded: bool
) -> tuple[float, float]:
    """Bytes that wait for the backward pass, and that the backward pass of one layer needs beside them."""
    token = tokens * (SINGLE if recipe.dtype == "float32" else HALF)
    attention, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    mlp = KEPT_MLP_FULL if recipe.method == "full" else KEPT_MLP
    spread = 0 if recipe.packing and not shape.spread_kv else KEPT_SPREAD
    layer = KEPT_HIDDEN * shape.hidden + (KEPT_ATTENTION + spread) * attention + KEPT_KV * kv
    layer += mlp * shape.intermediate
    if recipe.method != "full" and (recipe.dropout or recipe.dora):
        # Unsloth's LoRA kernels give way to PEFT's, which keep more: not measured, an estimate.
        layer += sum(sum(shape.linear.get(name, (0, 0))) for name in recipe.target_modules)
    working = BACKWARD_MLP * shape.intermediate
    if not checkpointing:
        return shape.layers * layer * token, working * token
    inputs = OFFLOAD_HIDDEN + (0 if offloaded else shape.layers)
    return inputs * shape.hidden * token, (layer + working) * token


# The plan


def choose(shape: ModelShape | None, settings: TrainSettings, *, room_gib: float | None, max_length: int) -> Choice:
    """The fastest plan that fits into `room_gib` (None: a CPU), keeping to what the options ask for.

    Raises EngineError when none does, with a recipe that would.
    """
    if room_gib is None:
        return _on_cpu(shape, settings, max_length)
    if shape is None:
        size, checkpointing = settings.micro_batches[0], settings.options.gradient_checkpointing != "off"
        return Choice(size, checkpointing, None, "the leanest plan, because config.json does not say the model's size")
    choice = fitting(shape, settings, room_gib=room_gib, max_length=max_length)
    if choice is None:
        raise _refusal(shape, settings, room_gib, max_length)
    return choice


def fitting(shape: ModelShape, settings: TrainSettings, *, room_gib: float, max_length: int) -> Choice | None:
    """The first of the plans, from the fastest to the leanest, that fits; None when none does."""
    tried: list[Choice] = []
    for size, checkpointing in _plans(settings, max_length):
        memory = memory_of(shape, settings.recipe, micro_batch=size, checkpointing=checkpointing, max_length=max_length)
        choice = Choice(size, checkpointing, memory, _why(settings, size, checkpointing, tried))
        if fits(memory, room_gib):
            return choice
        tried.append(choice)
    return None


def fits(memory: Memory, room_gib: float) -> bool:
    """Whether there is room for it, also where the prediction is low."""
    return memory.total * SPARE <= room_gib


def _plans(settings: TrainSettings, max_length: int) -> Iterator[tuple[int, bool]]:
    """Micro-batch and checkpointing, the fastest first: recomputing costs more than a small micro-batch does."""
    sizes = settings.micro_batches
    enough = next((size for size in sizes if size * max_length >= ENOUGH_TOKENS), sizes[-1])
    for checkpointing in {"on": (True,), "off": (False,)}.get(settings.options.gradient_checkpointing, (False, True)):
        yield from ((size, checkpointing) for size in reversed(sizes) if size <= enough)


def _why(settings: TrainSettings, size: int, checkpointing: bool, tried: list[Choice]) -> str:
    mode = f"checkpointing {'on' if checkpointing else 'off'}"
    larger = [choice for choice in tried if choice.checkpointing == checkpointing]
    smaller = f"; micro-batch {size} because {_need(larger[-1])}" if larger else ""
    if settings.options.gradient_checkpointing != "auto":
        return f"{mode} as asked{smaller}"
    without = [choice for choice in tried if not choice.checkpointing]
    return f"{mode} because {_need(without[-1], 'off ') if checkpointing else 'it fits'}{smaller}"


def _need(choice: Choice, what: str = "") -> str:
    assert choice.memory is not None
    return f"{what or f'{choice.micro_batch} '}would need {choice.memory.total:.1f} GiB"


def _on_cpu(shape: ModelShape | None, settings: TrainSettings, max_length: int) -> Choice:
    sizes = settings.micro_batches
    size = max((size for size in sizes if size <= CPU_MICRO_BATCH), default=sizes[0])
    checkpointing = settings.options.gradient_checkpointing == "on"
    memory = (
        memory_of(shape, settings.recipe, micro_batch=size, checkpointing=checkpointing, max_length=max_length)
        if shape
        else None
    )
    return Choice(size, checkpointing, memory, f"checkpointing {'on as asked' if checkpointing else 'off on a CPU'}")


# The refusal


def _refusal(shape: ModelShape, settings: TrainSettings, room_gib: float, max_length: int) -> EngineError:
    size, checkpointing = list(_plans(settings, max_length))[-1]
    least = memory_of(shape, settings.recipe, micro_batch=size, checkpointing=checkpointing, max_length=max_length)
    mode = f"micro-batch {size}, checkpointing {'on' if checkpointing else 'off'}, rows of {max_length:,} tokens"
    message = (
        f"--method {settings.recipe.method} needs {least.total * SPARE:.1f} GiB of GPU memory even in its leanest form "
        f"here ({mode}), and there are {room_gib:.1f} GiB to use"
    )
    changes = _least_changes(shape, settings, room_gib, max_length)
    return EngineError(message, "; or ".join(changes) or "use a larger GPU, or a smaller model")


def _least_changes(shape: ModelShape, settings: TrainSettings, room_gib: float, max_length: int) -> list[str]:
    """The least change that fits; if that is another method, also the least that keeps the method."""
    lengths = [max_length]
    shorter = 1 << ((max_length - 1).bit_length() - 1)
    while shorter >= SHORTEST:
        lengths.append(shorter)
        shorter //= 2
    changes: list[str] = []
    for length in lengths:
        for method in (settings.recipe.method, *LEANER[settings.recipe.method]):
            if changes and method != settings.recipe.method:
                continue
            for changed in _relaxed(settings, method):
                choice = fitting(shape, changed, room_gib=room_gib, max_length=length)
                if choice is not None:
                    changes.append(_change_text(settings, changed, choice, length if length != max_length else None))
                    if method == settings.recipe.method:
                        return changes
                    break
    return changes


def _relaxed(settings: TrainSettings, method: str) -> Iterator[TrainSettings]:
    """The settings by that method: as they are, then without what they ask of checkpointing, of the micro-batch, of
    both.
    """
    recipe = settings.recipe.model_copy(update={"method": method})
    free = {"gradient_checkpointing": "auto", "micro_batch": "auto"}
    names: tuple[tuple[str, ...], ...] = ((), ("gradient_checkpointing",), ("micro_batch",), tuple(free))
    for given_up in names:
        options = settings.options.model_copy(update={name: free[name] for name in given_up})
        yield TrainSettings.model_construct(recipe=recipe, options=options)


def _change_text(settings: TrainSettings, changed: TrainSettings, choice: Choice, length: int | None) -> str:
    assert choice.memory is not None
    words = [] if changed.recipe.method == settings.recipe.method else [f"--method {changed.recipe.method}"]
    asked = settings.options
    if asked.micro_batch != "auto" and choice.micro_batch != min(asked.micro_batch, settings.recipe.batch_size):
        words.append(f"--micro-batch {choice.micro_batch}")
    if asked.gradient_checkpointing == "off" and choice.checkpointing:
        words.append("--gradient-checkpointing on")
    steps = [f"twinctl prepare --max-length {length}"] if length else []
    steps += [f"twinctl train {' '.join(words)}"] if words else []
    return f"{', then '.join(steps)} ({choice.memory.total:.1f} GiB)"
