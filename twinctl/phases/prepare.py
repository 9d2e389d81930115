"""prepare: rows → template + EOS → tokens → a seeded split, as Arrow files that train reads as they are.

What must stay true: the same row is never in both splits, and adding rows moves no other row; no sample loses its EOS
(a longer one is dropped and counted); rows are streamed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from twinctl.data.rows import column_map, messages_of, normalised
from twinctl.data.source import Source, parse_source, read_rows, resolve_source
from twinctl.data.template import Message, render, template_text
from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, TRAIN, TokensWriter
from twinctl.errors import CheckFailed, ConfigError
from twinctl.phases.base import Attempt, Phase, Plan, Result
from twinctl.phases.base_model import find_base_model
from twinctl.phases.stale import changed_values, settings_now
from twinctl.recipes.prepare import PrepareOptions, PrepareRecipe
from twinctl.settings.resolve import Values
from twinctl.workspace.artifact import Record
from twinctl.workspace.files import write_text
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

TEMPLATE_FILE = "template.jinja"
BATCH = 500


def plan(workspace: Workspace, run: Run, preset: str, values: Values, *, refresh: bool = False) -> Plan:
    """The request, with data and model resolved to content. May ask the Hub for what the run has not pinned yet."""
    recipe, options = values.build(PrepareRecipe), values.build(PrepareOptions)
    column_map(recipe.map)
    if not options.data:
        raise ConfigError("there are no author's rows", "name them: twinctl prepare -d rows.jsonl")
    wanted = [parse_source(locator, "author") for locator in options.data]
    wanted += [parse_source(locator, "general") for locator in options.general]
    model = find_base_model(options.model, options.revision, workspace.memo, run.pins.get("model"), refresh=refresh)
    pinned = run.pins.get("sources", [])
    sources = [resolve_source(source, workspace.memo, pinned, refresh=refresh) for source in wanted]
    return Plan(
        phase=PHASE,
        slot="prepare",
        slug=f"{recipe.template}-{recipe.max_length}-{model.name}",
        produces="tokens",
        recipe=recipe,
        origins=dict(values.origins),
        inputs={"tokenizer": model.tokenizer_digest, "sources": [source.identity for source in sources]},
        parents={},
        options=options,
        locate=lambda: {
            "tokenizer": str(model.folder(weights=False)),
            "sources": [source.stored() for source in sources],
        },
        pins={
            "preset": preset,
            "model": model.stored(),
            "template": recipe.template,
            "max_length": recipe.max_length,
            "sources": [source.stored() for source in sources],
        },
    )


def run(attempt: Attempt) -> Result:
    """Write out/train.arrow, out/eval.arrow and out/template.jinja.

    Raises ConfigError for bad rows or when none is left, CheckFailed when a sample is not fit to train on.
    """
    recipe = attempt.recipe
    assert isinstance(recipe, PrepareRecipe)
    tokenizer = TextTokenizer.load(Path(attempt.inputs["tokenizer"]))
    template = template_text(recipe.template, adds_bos=tokenizer.adds_bos)
    sources = [Source(**stored) for stored in attempt.inputs["sources"]]
    work = Preparation(recipe, tokenizer, template, attempt)
    with TokensWriter(attempt.out, salt=f"{template}\0{tokenizer.eos_id}") as writer:
        for source in sources:
            attempt.stage(f"reading {source.locator}")
            work.add(source, writer)
    write_text(attempt.out / TEMPLATE_FILE, template)
    return Result(metrics=work.metrics(), digest=writer.digest, warnings=work.warnings())


class Preparation:
    """The pass over all rows, and its counts."""

    def __init__(self, recipe: PrepareRecipe, tokenizer: TextTokenizer, template: str, attempt: Attempt) -> None:
        self._recipe, self._tokenizer, self._template, self._attempt = recipe, tokenizer, template, attempt
        self._columns = column_map(recipe.map)
        self._seen: set[bytes] = set()
        self._read = 0
        self._longest = 0
        self._dropped: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._by_role: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._trained = 0

    def add(self, source: Source, writer: TokensWriter) -> None:
        """Tokenise a source's rows, in batches."""
        rows = self._messages(source)
        while batch := list(islice(rows, BATCH)):
            self._write(batch, source, writer)
            self._attempt.event("progress", rows=self._read)

    def _messages(self, source: Source) -> Iterator[list[Message]]:
        for place, row in read_rows(source):
            self._read += 1
            messages = messages_of(row, self._columns, place)
            if isinstance(messages, str):
                self._dropped[messages] += 1
            elif self._is_new(messages):
                yield messages
            else:
                self._dropped["duplicate"] += 1

    def _is_new(self, messages: list[Message]) -> bool:
        text = "\0".join(message["content"] for message in messages)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        fresh = key not in self._seen
        self._seen.add(key)
        return fresh

    def _write(self, batch: list[list[Message]], source: Source, writer: TokensWriter) -> None:
        marks = {"bos": self._tokenizer.bos, "eos": self._tokenizer.eos}
        texts = [render(self._template, messages, **marks) for messages in batch]
        prompts = [render(self._template, messages[:-1], **marks) for messages in batch]
        for messages, prompt, encoding in zip(batch, prompts, self._tokenizer.encode(texts), strict=True):
            if len(encoding.ids) > self._recipe.max_length:
                self._dropped["over max length"] += 1
                continue
            split = split_of(messages[0]["content"], self._recipe.seed, self._recipe.eval_fraction)
            prompt_length = sum(end <= len(prompt) for _, end in encoding.offsets)
            ids: list[int] = encoding.ids
            self._audit(ids, source)
            asked = messages[-2]["content"]
            writer.add(split, ids, ids, prompt_length=prompt_length, prompt=asked, role=source.role)
            self._count(split, ids, source)

    def _count(self, split: str, ids: list[int], source: Source) -> None:
        self._kept[split] += 1
        self._by_role[source.role] += 1
        self._tokens[source.role] += len(ids)
        self._trained += len(ids) if split == TRAIN else 0
        self._longest = max(self._longest, len(ids))

    def _audit(self, ids: list[int], source: Source) -> None:
        if ids[-1] != self._tokenizer.eos_id:
            raise CheckFailed(f"a sample of {source.locator} does not end with EOS", "choose another template")
        if max(ids) >= self._tokenizer.vocabulary:
            raise CheckFailed(
                f"a token id of {source.locator} is beyond the model's embedding ({self._tokenizer.vocabulary})",
                "the tokenizer and the model do not belong together: --model ID_OR_PATH",
            )

    def metrics(self) -> dict[str, Any]:
        """The counts. Raises ConfigError when nothing is left to train on."""
        dropped = dict(sorted(self._dropped.items()))
        if not self._kept[TRAIN]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "none was read"
            raise ConfigError(
                f"no rows are left to train on: {self._read} read; dropped: {reasons}", "look at the data: -d SOURCE"
            )
        return {
            "rows_read": self._read,
            "rows_kept": self._kept.total(),
            "rows_dropped": dropped,
            "train_rows": self._kept[TRAIN],
            "eval_rows": self._kept[EVAL],
            "rows_by_role": dict(self._by_role),
            "tokens": self._tokens.total(),
            "tokens_by_role": dict(self._tokens),
            "trained_tokens": self._trained,
            "longest": self._longest,
        }

    def warnings(self) -> list[str]:
        """What a person should know before training on this."""
        found = []
        if self._recipe.eval_fraction and not self._kept[EVAL]:
            found.append("no row is held out, so there will be no eval loss: raise --eval-fraction")
        long = self._dropped["over max length"]
        if long * 20 > self._read:
            found.append(f"{long} of {self._read} rows are over {self._recipe.max_length} tokens: raise --max-length")
        return found


def split_of(prompt: str, seed: int, eval_fraction: float) -> str:
    """Which split a prompt belongs to: by a hash of its normalised text and the seed, so it depends on no other row."""
    key = hashlib.blake2b(f"{seed}\0{normalised(prompt)}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return EVAL if int.from_bytes(key, "big") / 2**64 < eval_fraction else TRAIN


def changed(workspace: Workspace, run: Run, record: Record) -> list[str]:
    """Other data or another model in the settings, or files that are not what they were. A file that is not there, as
    after a move to another machine, changes nothing.
    """
    by_role: dict[str, list[str]] = {"author": [], "general": []}
    for source in run.pins["sources"]:
        by_role[source["role"]].append(source["locator"])
    before = {"model": run.pins["model"]["locator"], "data": by_role["author"], "general": by_role["general"]}
    now = settings_now(PHASE, run).build(PrepareOptions).model_dump(mode="json", include=set(before))
    sources = [Source(**stored) for stored in run.pins["sources"]]
    edited = [
        f"{source.locator} changed"
        for source in sources
        if source.file and source.file.exists() and workspace.memo.sha256(source.file) != source.digest
    ]
    return [*changed_values(record, before, now), *edited]


PHASE = Phase(
    "prepare", 1, "prepare", PrepareRecipe, PrepareOptions, run, makes=("tokens",), section="prepare", changed=changed
)
