"""The checks that import a library or ask the network: `python -m twinctl.doctor.probe GROUP`, a JSON line a finding.

What must stay true: importing this module imports nothing heavy; a group's checks come in the order of `PROBES`, and
end at the first that failed.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from twinctl.child_process import Send, report
from twinctl.doctor.checks import Finding, checked
from twinctl.planning.device import nvidia_driver, refuse_early
from twinctl.wording import GIB

if TYPE_CHECKING:
    import httpx

QLORA_8B, LORA_8B = 8, 17
"""GiB that training an 8B model takes at its peak on a GPU."""
RAM = 4
ENV = "twinctl init makes the file"
COMET_KEY = f"make a key at https://www.comet.com/account-settings/apiKeys and put it into .env: {ENV}"
TORCH_FOR_DRIVER = "uv pip install --torch-backend=auto --reinstall-package torch torch; or update the driver"


@dataclass(frozen=True)
class Probe:
    """What one process checks, within which time, and the hint where a check has none of its own."""

    checks: Mapping[str, Callable[[str], Finding]]
    seconds: float
    hint: str
    wait: str = ""
    show_text: bool = True


def torch_build(name: str) -> Finding:
    """Whether torch is built for what the driver can do; any build will do where there is no driver."""
    import torch

    facts = f"{torch.__version__}, built for " + (f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU")
    if nvidia_driver() is None:
        return Finding(name, "ok", facts)
    able = _cuda_of_driver()
    if torch.version.cuda is None:
        return Finding(name, "failed", f"{facts}, and there is an NVIDIA driver", TORCH_FOR_DRIVER)
    if able and int(torch.version.cuda.split(".")[0]) > able // 1000:
        limit = f"{able // 1000}.{able % 1000 // 10}"
        return Finding(name, "failed", f"{facts}; the driver knows CUDA up to {limit}", TORCH_FOR_DRIVER)
    return Finding(name, "ok", facts)


def _cuda_of_driver() -> int:
    """The newest CUDA that the driver knows, 12.8 as 12080; 0 where it does not say."""
    import ctypes

    facts = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(facts))
    except (OSError, AttributeError):
        return 0
    return facts.value


def gpu(name: str) -> Finding:
    """The GPUs that torch sees, and whether they compute in bf16."""
    import torch

    if nvidia_driver() is None:
        return Finding(name, "ok", "none; the CPU is used")
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return Finding(name, "warning", "hidden by CUDA_VISIBLE_DEVICES; the CPU is used", "unset CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return Finding(name, "failed", "there is an NVIDIA driver, but torch cannot use a GPU", TORCH_FOR_DRIVER)
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    facts = ", ".join(f"{gpu.name} (sm_{gpu.major}{gpu.minor}, {gpu.total_memory / GIB:.0f} GiB)" for gpu in devices)
    if min(gpu.major for gpu in devices) >= 8:
        return Finding(name, "ok", f"{facts}, bf16")
    return Finding(
        name, "warning", f"{facts}, no bf16", "training uses float16 there; for bf16 an A10, L4, A100 or newer"
    )


def kernel(name: str) -> Finding:
    """A bf16 matrix product on every GPU, else on the CPU, compared with the exact one."""
    import torch

    torch.manual_seed(0)
    left, right = (torch.randint(-4, 5, (256, 256)).double() for _ in range(2))
    exact = left @ right
    for device in _devices():
        product = (left.to(device, torch.bfloat16) @ right.to(device, torch.bfloat16)).double().cpu()
        worst = float((product - exact).abs().max() / exact.abs().max())
        if not worst < 2**-7:
            facts = f"a bf16 matrix product on {device} is wrong by {worst:.0%} of its largest number"
            return Finding(
                name, "failed", facts, "look for errors: nvidia-smi -q -d ECC,PERFORMANCE; then another driver or GPU"
            )
    return Finding(name, "ok", f"a bf16 matrix product on {', '.join(_devices())} is right")


def memory(name: str) -> Finding:
    """Free memory: of the GPU with the least, else the machine's."""
    if _devices() == ["cpu"]:
        import psutil

        machine = psutil.virtual_memory()
        free, total, least = machine.available, machine.total, RAM
        hint = "end other programs: ps aux --sort=-rss | head"
    else:
        import torch

        free, total = min(torch.cuda.mem_get_info(device) for device in _devices())
        fits = f"twinctl train --method qlora takes about {QLORA_8B} GiB for an 8B model"
        fits = fits if free >= QLORA_8B * GIB else "small models fit: --preset tiny"
        least, hint = LORA_8B, f"{fits}; who has the rest: nvidia-smi"
    facts = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return Finding(name, "ok", facts) if free >= least * GIB else Finding(name, "warning", facts, hint)


def _devices() -> list[str]:
    """Where work would run."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def unsloth(name: str) -> Finding:
    """Unsloth, imported as training imports it."""
    from twinctl.engine.unsloth_import import start_unsloth

    refuse_early("auto", 0)
    start_unsloth()
    others = ", ".join(f"{package} {version(package)}" for package in ("trl", "transformers", "peft"))
    return Finding(name, "ok", f"{version('unsloth')} imports, with {others}")


def llama_cpp(name: str) -> Finding:
    """llama.cpp's runtime, and that its library quantizes a row: 32 numbers are 34 bytes of Q8_0."""
    import ctypes

    import xllamacpp

    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    row, out = (ctypes.c_float * 32)(*range(32)), (ctypes.c_uint8 * 34)()
    sizes = ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(32)
    written = library.ggml_quantize_chunk(8, row, out, *sizes, None)
    if written != 34:
        raise RuntimeError(f"ggml_quantize_chunk wrote {written} bytes of 34")
    return Finding(name, "ok", f"xllamacpp {version('xllamacpp')} loads and quantizes")


def gguf(name: str) -> Finding:
    """The package that writes GGUF files."""
    import gguf as package

    return Finding(name, "ok", f"gguf {version('gguf')} writes {package.LlamaFileType.MOSTLY_Q8_0.name[7:]} and others")


@functools.cache
def _hub_answer() -> httpx.Response:
    """What the Hub answers to “who am I?”, asked once and not retried (without a token: 401). Raises HubError."""
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    from twinctl.hub.client import SECONDS, api
    from twinctl.hub.failures import Target, hub_errors

    api()
    with hub_errors(Target("model", "")):
        answer: httpx.Response = get_session().get(
            f"{ENDPOINT}/api/whoami-v2", headers=build_hf_headers(), timeout=SECONDS
        )
        if answer.status_code in (200, 401):
            answer.json()  # or it is a login page that answers
        elif answer.status_code != 404:  # a mirror that knows no accounts
            hf_raise_for_status(answer)
    return answer


def hub(name: str) -> Finding:
    """Whether the Hub can be reached."""
    from twinctl.hub.client import offline

    if offline():
        facts = "network off (HF_HUB_OFFLINE is set): models and rows come from the local cache only"
        return Finding(name, "warning", facts, "unset HF_HUB_OFFLINE")
    answer = _hub_answer()
    return Finding(name, "ok", f"{answer.url.host} answers in {answer.elapsed.total_seconds():.1f} s")


def hf_token(name: str) -> Finding:
    """Whether there is a token, the Hub takes it, and what it may do."""
    from huggingface_hub import get_token

    from twinctl.hub.client import offline

    if not get_token():
        return Finding(name, "warning", "none: gated models (Llama 3.1) and private repos stay shut", _new_token())
    if offline():
        return Finding(name, "ok", "there is one; not tried (HF_HUB_OFFLINE is set)")
    answer = _hub_answer()
    if answer.status_code == 401:
        return Finding(name, "failed", "the Hub does not accept the token (401)", _new_token())
    if answer.status_code == 404:
        return Finding(name, "warning", "there is one; this mirror cannot tell what it may do", "unset HF_ENDPOINT")
    return _scopes(name, answer.json())


def _scopes(name: str, account: dict[str, Any]) -> Finding:
    """What the token may do, as the Hub describes it."""
    access = account.get("auth", {}).get("accessToken", {})
    role, fine = str(access.get("role")), access.get("fineGrained") or {}
    rights = {right for scope in fine.get("scoped", []) for right in scope.get("permissions", [])}
    writes = role == "write" or "repo.write" in rights
    kind = "fine-grained" if role == "fineGrained" else f"role {role}"
    facts = f"{account.get('name')}'s, {kind}: reads, " + ("writes" if writes else "does not write (push wants that)")
    if role == "fineGrained" and not fine.get("canReadGatedRepos"):
        return Finding(name, "warning", f"{facts}, no gated models", f"tick “gated repos” at {_tokens_page()}")
    return Finding(name, "ok", facts)


def _tokens_page() -> str:
    from twinctl.hub.failures import Target

    return Target("model", "settings/tokens").page()


def _new_token() -> str:
    """The hint for a token that is missing or refused."""
    return f"make one at {_tokens_page()} and put it into .env: {ENV}"


def comet(name: str) -> Finding:
    """Whether Comet takes the key: asked for the account, so that no experiment is made."""
    key = os.environ.get("COMET_API_KEY")
    if not key:
        facts = "no COMET_API_KEY: training is followed by twinctl alone, which is enough"
        return Finding(name, "warning", facts, f"to have it on Comet too: {COMET_KEY}")
    from twinctl.tracking import prepare_environment

    prepare_environment()
    os.environ["COMET_HTTP_SESSION_RETRY_TOTAL"] = "0"
    import comet_ml

    logging.getLogger("comet_ml").setLevel(logging.CRITICAL + 1)  # it prints a key that is refused
    try:
        account = comet_ml.API(api_key=key, cache=False).get_account_details()
    except Exception as error:
        kind = type(error).__name__
        if kind in ("Unauthorized", "InvalidAPIKey"):
            return Finding(name, "failed", "Comet does not accept COMET_API_KEY", COMET_KEY)
        facts = f"Comet cannot be asked ({kind}); metrics then go to an archive for `comet upload`"
        return Finding(name, "warning", facts, "check the connection, or: twinctl train --tracking none")
    return Finding(name, "ok", f"takes the key, workspace {account.get('defaultWorkspaceName') or 'unnamed'}")


def _reinstall(package: str) -> str:
    return f"uv sync --reinstall-package {package} (outside a clone: pip install --force-reinstall --no-deps {package})"


PROBES: Mapping[str, Probe] = {
    "torch": Probe({"torch": torch_build, "gpu": gpu, "kernel": kernel, "memory": memory}, 120, _reinstall("torch")),
    "llama.cpp": Probe({"llama.cpp": llama_cpp}, 60, _reinstall("xllamacpp")),
    "gguf": Probe({"gguf": gguf}, 60, _reinstall("gguf")),
    "hub": Probe({"hub": hub, "hf token": hf_token}, 20, "check HF_ENDPOINT and the connection", show_text=False),
    "comet": Probe({"comet": comet}, 20, _reinstall("comet-ml"), show_text=False),
    "unsloth": Probe(
        {"unsloth": unsloth}, 300, _reinstall("unsloth"), "importing Unsloth as training does takes 10 to 20 seconds"
    ),
}


def run_checks(probe: Probe, send: Send) -> None:
    """Run a group's checks and send what each found, up to the first that failed."""
    for name, check in probe.checks.items():
        finding = checked(name, check, probe.hint, show_text=probe.show_text)
        send(asdict(finding))
        if finding.state == "failed":
            break


if __name__ == "__main__":
    report(functools.partial(run_checks, PROBES[sys.argv[1]]))
