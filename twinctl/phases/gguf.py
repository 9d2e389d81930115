"""gguf: the run's 16-bit model as one GGUF file of one quantisation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl import __version__
from twinctl.config.export import GgufRecipe, ProofOptions
from twinctl.errors import ConfigError, TwinctlError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import AnyAttempt, Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.verification.verify_artifact import ReferenceSource, prove_file, reference_source
from twinctl.workspace.memo import file_sha256


@dataclass(frozen=True)
class GgufInputs:
    """The merged model, what the file's header says of it, and what the file is compared with."""

    model: Path
    digest: str
    base_name: str
    base_url: str
    license: str
    max_length: int
    reference: ReferenceSource


def plan(view: RunView, recipe: GgufRecipe, *, verify: bool = True) -> Plan[GgufRecipe, ProofOptions, GgufInputs]:
    """One file from the run's merged model. Raises UpstreamError when there is none."""
    model, base = view.need(Kind.MODEL), view.base

    def resolve_inputs() -> GgufInputs:
        model.artifact.check(file_sha256, view.name)  # what is shipped is made of what was written, to the byte
        return GgufInputs(
            model=model.out.resolve(),
            digest=model.digest,
            base_name=base.public_name,
            base_url=f"https://huggingface.co/{base.repo}" if base.repo else "",
            license=_license_of(base),
            max_length=model.made_from(Kind.TOKENS).tokens_info().max_length,
            reference=reference_source(view, model),
        )

    return Plan(
        phase=PHASE,
        slot=f"gguf-{recipe.quant}",
        slug=f"{recipe.quant}-{base.name}",
        produces="gguf",
        recipe=recipe,
        inputs={"model": model.digest},
        parents={"model": model.path},
        options=ProofOptions(verify=verify),
        resolve_inputs=resolve_inputs,
    )


def require_writable(view: RunView) -> None:
    """Raise ConfigError when no GGUF file can be made of the run's family: neither by us nor by a llama.cpp here."""
    from twinctl.gguf.checkpoint import read_model_json
    from twinctl.gguf.llama_cpp_fallback import require_family

    folder = view.base.folder(weights=False)
    require_family(read_model_json(folder / "config.json"), folder)


def run(attempt: Attempt[GgufRecipe, ProofOptions, GgufInputs]) -> Produced:
    """Write out/<name>-<quant>.gguf and prove it. Raises ConfigError for a family or tokenizer that cannot be written
    faithfully, CheckFailed for a file that is not the model.
    """
    recipe, model = attempt.recipe, attempt.inputs.model
    target = attempt.out / f"{recipe.name}-{recipe.quant}.gguf"
    written, unlike = _write(attempt, target)
    proof = prove_file(attempt, target, recipe.quant, attempt.inputs.reference) if attempt.options.verify else None
    warnings = [f"llama.cpp makes other tokens than the training did of {unlike}"] if unlike else []
    return Produced(
        metrics={**written, "proof": proof}, warnings=[*warnings, *_write_modelfile(attempt, model, target)]
    )


def _write_modelfile(attempt: AnyAttempt, model: Path, target: Path) -> list[str]:
    """Write what Ollama needs in addition to the file, where the chat template can be expressed in its terms; a warning
    that says why, where it cannot.
    """
    from twinctl.config.sampling import Sampling
    from twinctl.ollama.chat_format import read_chat_format
    from twinctl.ollama.modelfile import FILE_NAME, check_modelfile, modelfile, parameters_of

    chat = read_chat_format(model)
    try:
        text = modelfile(chat, target.name, parameters_of(Sampling(), attempt.inputs.max_length))
        check_modelfile(text, chat)
    except ConfigError as error:
        return [f"there is no {FILE_NAME} for Ollama: {error.message}"]
    (attempt.out / FILE_NAME).write_text(text, encoding="utf-8")
    return []


def _write(attempt: Attempt[GgufRecipe, ProofOptions, GgufInputs], target: Path) -> tuple[dict[str, Any], str]:
    """Ourselves; or, for another family, by llama.cpp's programs where they are installed. The metrics, and of which
    texts llama.cpp makes other tokens than training did.
    """
    from twinctl.gguf.checkpoint import read_model_json
    from twinctl.gguf.llama_cpp_fallback import require_family, write_by_llama_cpp
    from twinctl.gguf.writer import Provenance, write_gguf

    recipe, inputs, model = attempt.recipe, attempt.inputs, attempt.inputs.model
    attempt.stage(f"writing {target.name}")
    tools = require_family(read_model_json(model / "config.json"), model)
    if tools is not None:
        attempt.note(writer=str(tools.converter.name))
        attempt.stage(f"writing {target.name} by llama.cpp's {tools.converter.name}")
        write_by_llama_cpp(model, target, recipe.quant, name=recipe.name, tools=tools)
        return {"bytes": target.stat().st_size}, ""
    written = write_gguf(
        model,
        target,
        recipe.quant,
        name=recipe.name,
        provenance=Provenance(
            license=inputs.license,
            base_model=inputs.base_name,
            base_model_url=inputs.base_url,
            entries={"model": inputs.digest, "version": __version__},
        ),
        progress=lambda done, total: attempt.event("progress", bytes=done, of=total),
    )
    return {"bytes": written.size, "tensors": written.tensors, "parameters": written.parameters}, written.unlike


def _license_of(base: BaseCheckpoint) -> str:
    """What the base's model card says, where it is at hand: the file's header repeats it, and no more depends on it."""
    try:
        card = (base.folder(weights=False) / "README.md").read_text(encoding="utf-8", errors="replace")
    except (OSError, TwinctlError):
        return ""
    head = card.split("\n---", 1)[0] if card.startswith("---") else ""
    named = dict(re.findall(r"^(license|license_name): *[\"']?([\w.+-]+)", head, re.MULTILINE))
    return str(named.get("license_name") or named.get("license") or "")


PHASE = Phase("gguf", 2, "export --gguf", GgufRecipe, ProofOptions, GgufInputs, run, makes=("gguf",))
