"""How to load this very twin: commands that name its repository, its files and its base.

What must stay true: every file that a command names is among those that are sent, or is made by the command before it;
an adapter is put on the commit of the base that it was trained on.
"""

from __future__ import annotations

from twinctl.data.template import MODEL
from twinctl.ollama.modelfile import HUB_PARAMETERS, HUB_TEMPLATE
from twinctl.publishing.facts import GGUF_NAME, Facts
from twinctl.publishing.markdown import code, fence, joined, plain

PROMPT = "What do you think about in the morning?"
# The ranks that vLLM has kernels for.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_ASK = f"""
messages = [{{"role": "user", "content": "{PROMPT}"}}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
).to(model.device)
output = model.generate(**inputs, max_new_tokens=256, eos_token_id=tokenizer.eos_token_id)
print(tokenizer.decode(output[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""
_NO_OLLAMA = (
    "There is no Modelfile for this twin, because Ollama cannot write its prompts as training did. Run the GGUF file"
    " with llama.cpp or LM Studio, which take the chat template from the file."
)
_CURL = """curl http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{"model": "MODEL", "messages": [{"role": "user", "content": "PROMPT"}]}'"""


def usage(facts: Facts) -> str:
    """The section."""
    where = "in the GGUF files" if facts.kind == "gguf" else "on the tokenizer"
    own = "its base's own" if facts.template == MODEL else f"the {plain(facts.template)}"
    end = f" An answer ends with {code(facts.eos)}." if facts.eos else ""
    prompt = f"It was trained with {own} prompt template, which travels {where}: ask it by a chat interface.{end}"
    parts = {"adapter": _adapter, "model": _model, "gguf": _gguf}[facts.kind](facts)
    return joined(["## How to use it", prompt, *parts])


def _model(facts: Facts) -> list[str]:
    load = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{facts.repo}")',
        f'model = AutoModelForCausalLM.from_pretrained("{facts.repo}", dtype="auto", device_map="auto")',
    ]
    serve = f"vllm serve {facts.repo}\n{_curl(facts.repo)}"
    fetch = f"hf download {facts.repo} --local-dir twin"
    return [*_python(load), "### vLLM", fence(serve, "bash"), *_converted(facts, fetch)]


def _adapter(facts: Facts) -> list[str]:
    before, base = list[str](), '"FOLDER-OF-THE-BASE"'
    if facts.base.repo:
        base = f'"{facts.base.repo}", revision="{facts.base.sha}"'
    elif facts.is_bundled:
        before, base = ["from twinctl.bundled import BASE"], "BASE"
    load = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        *before,
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{facts.repo}")',
        f'model = AutoModelForCausalLM.from_pretrained({base}, dtype="auto", device_map="auto")',
        f'model = PeftModel.from_pretrained(model, "{facts.repo}")',
    ]
    text = "These want a whole model. After the lines above, in Python, this writes one to the folder `twin`:"
    merge = 'model.merge_and_unload().save_pretrained("twin")\ntokenizer.save_pretrained("twin")'
    return [
        *(*_python(load), "### vLLM", _vllm_adapter(facts)),
        *("### llama.cpp and Ollama", text, fence(merge, "python"), *_converted(facts, "", heading=False)),
    ]


def _python(load: list[str]) -> list[str]:
    return ["### transformers", fence("\n".join(load) + "\n" + _ASK, "python")]


def _vllm_adapter(facts: Facts) -> str:
    recipe = facts.train.recipe
    rank = next((rank for rank in VLLM_RANKS if rank >= int(recipe.get("rank", 1))), None)
    if recipe.get("dora") or recipe.get("bias", "none") != "none" or rank is None:
        return (
            "vLLM does not load an adapter of this kind (DoRA, biases, or a rank over 512): merge it first, see below."
        )
    base, at = facts.base.repo or "FOLDER-OF-THE-BASE", f" --revision {facts.base.sha}" if facts.base.sha else ""
    serve = [
        f"vllm serve {base}{at} \\",
        f"  --tokenizer {facts.repo} --tokenizer-revision main \\",
        f"  --enable-lora --max-lora-rank {rank} --lora-modules twin={facts.repo}",
    ]
    return fence("\n".join(serve) + "\n" + _curl("twin"), "bash")


def _curl(model: str) -> str:
    return _CURL.replace("MODEL", model).replace("PROMPT", PROMPT)


def _converted(facts: Facts, fetch: str, *, heading: bool = True) -> list[str]:
    """llama.cpp and Ollama from a folder `twin` of safetensors."""
    convert = f"python llama.cpp/convert_hf_to_gguf.py twin --outtype q8_0 --outfile {GGUF_NAME}"
    run = f"llama-cli -m {GGUF_NAME} --jinja"
    shell = "\n".join(line for line in (fetch, convert, run) if line)
    note = "With a clone of llama.cpp (`twinctl export --gguf` makes such a file too, where the twin was trained):"
    if facts.is_bundled:  # llama.cpp's converter knows tokenizers by name, and not this one
        note = f"Where the twin was trained, `twinctl export --gguf` makes a GGUF file, here `{GGUF_NAME}`:"
        shell = run
    created = [_NO_OLLAMA]
    if facts.modelfile:
        created = [
            "For Ollama, put this `Modelfile` into the folder of that file:",
            fence(facts.modelfile),
            fence("ollama create twin -f Modelfile\nollama run twin", "bash"),
        ]
    cpp, own = (["### llama.cpp"], ["### Ollama"]) if heading else ([], [])
    return [*cpp, note, fence(shell, "bash"), *own, *created]


def _gguf(facts: Facts) -> list[str]:
    names = [name for name in facts.files if name.endswith(".gguf")]
    cli = "\n".join(f"llama-cli -hf {facts.repo} -hff {name} --jinja" for name in names)
    server = f"llama-server -hf {facts.repo} -hff {names[0]} --jinja"
    pulled = "\n".join(f"ollama run hf.co/{facts.repo}:{name}" for name in names)
    files = f"`{HUB_TEMPLATE}` and `{HUB_PARAMETERS}` here tell Ollama the prompt template and where an answer ends."
    whole = f"the 16-bit model, [{facts.merged_repo}](https://huggingface.co/{facts.merged_repo})"
    return [
        *("### llama.cpp", fence(f"{cli}\n{server}", "bash")),
        *("### Ollama", *([fence(pulled, "bash"), files] if facts.modelfile else [_NO_OLLAMA])),
        "### transformers and vLLM",
        f"They load {whole if facts.merged_repo else 'the 16-bit model, not these files'}.",
    ]
