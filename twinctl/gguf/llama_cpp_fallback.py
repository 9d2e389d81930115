"""Models that we do not write ourselves: by llama.cpp's two programs, where somebody has installed them.

That is what Unsloth's save_pretrained_gguf does, with its folder (UNSLOTH_LLAMA_CPP_PATH), but nothing is downloaded,
compiled or patched. What must stay true: what is neither ours nor theirs is refused before any work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.errors import ConfigError, EngineError
from twinctl.gguf.encoding import available_cores
from twinctl.gguf.families import find_family
from twinctl.gguf.model import read_hyperparameters
from twinctl.gguf.quant_types import find_quant
from twinctl.gguf.vocabulary import read_vocabulary
from twinctl.workspace.files import atomic_write

FOLDER = "UNSLOTH_LLAMA_CPP_PATH"
_CONVERTERS, _QUANTIZER = ("convert_hf_to_gguf.py", "convert-hf-to-gguf.py"), "llama-quantize"
_BY_THE_CONVERTER = ("f32", "f16", "bf16", "q8_0")
_INSTALL = f"or install llama.cpp, and put its folder, with {_CONVERTERS[0]} and a built {_QUANTIZER}, into {FOLDER}"


@dataclass(frozen=True)
class Tools:
    """llama.cpp's programs: a script for Python, and a binary."""

    converter: Path
    quantizer: Path


def require_family(config: Mapping[str, Any], folder: Path | None = None) -> Tools | None:
    """None for a model that `write_gguf` can write by what its config.json says, and, if `folder` is given, by the
    tokenizer there; for another llama.cpp's programs.

    Raises ConfigError where they are not installed either, UpstreamError for files that are damaged. No weights are
    needed: base models can be asked about before they are merged.
    """
    try:
        numbers = read_hyperparameters(config, find_family(config))
        if folder is not None:
            read_vocabulary(folder, numbers.vocabulary)
    except ConfigError as error:
        tools = find_tools()
        if tools is None:
            raise ConfigError(error.message, f"{error.hint}; {_INSTALL}" if error.hint else _INSTALL) from error
        return tools
    return None


def find_tools() -> Tools | None:
    """Both programs, from the folder that UNSLOTH_LLAMA_CPP_PATH names or from PATH; None where one is missing."""
    folder = os.environ.get(FOLDER)
    places = [Path(folder), Path(folder, "build", "bin")] if folder else []
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    scripts = (shutil.which(name, mode=os.F_OK, path=path) for name in _CONVERTERS)
    converter, quantizer = next(filter(None, scripts), None), shutil.which(_QUANTIZER, path=path)
    return Tools(Path(converter), Path(quantizer)) if converter and quantizer else None


def write_by_llama_cpp(model_dir: Path, target: Path, quant: str, *, name: str, tools: Tools) -> None:
    """Write the model to `target` by llama.cpp's programs; a K-quant by way of a bf16 file, gone afterwards.

    Raises ConfigError for a quant that nobody knows, EngineError, with the program's last line, where one fails. After
    any of them `target` is as it was before.
    """
    find_quant(quant)
    direct = quant in _BY_THE_CONVERTER
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = target.with_name(f".{target.name}.bf16")
    with atomic_write(target, single_writer=True) as partial:
        try:
            converted, kind = (partial, quant) if direct else (whole, "bf16")
            arguments: list[str | Path] = ["--outfile", converted, "--outtype", kind, "--model-name", name]
            _run([sys.executable, tools.converter, model_dir, *arguments])
            if not direct:
                _run([tools.quantizer, whole, partial, quant.upper(), str(available_cores())])
        finally:
            whole.unlink(missing_ok=True)


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        program = next(Path(part).name for part in command if str(part) != sys.executable)
        raise EngineError(f"llama.cpp's {program} failed: {lines[-1] if lines else 'it said nothing'}", _INSTALL)
