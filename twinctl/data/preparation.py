"""The pass over all rows: shape → clean → template → tokens → split, in batches that are encoded during the reading.

What must stay true: every sample ends with a learnt stop token, whatever was cut; samples are written in the order in
which they were read (one unit may wait: see split); memory does not grow with the number of rows, but for a short
digest of each.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from twinctl.data.clean import Duplicates, without_controls
from twinctl.data.documents import Document, read_document, shortened
from twinctl.data.length_policy import Candidate, Encoded, LengthPolicy, assistant, user
from twinctl.data.passages import passages, pieces, plain_text
from twinctl.data.report import Report, SourceCounts
from twinctl.data.shapes import MessagesRow, TextRow, column_map, parse_row
from twinctl.data.source import Source, read_rows
from twinctl.data.split import Split, split_hash
from twinctl.data.template import Message, Template
from twinctl.data.tokenizer import TextTokenizer, special_pattern
from twinctl.data.tokens import TRAIN, TokenizedSample, TokensWriter, count_trained
from twinctl.errors import ConfigError

if TYPE_CHECKING:
    from twinctl.config.prepare import PrepareRecipe

BATCH, AHEAD = 1000, 2
# The book mixes 10,000 general rows with 3,000 of the author's (LLM Engineer's Handbook, chapter 5).
GENERAL_FOR, OF_THE_AUTHOR = 10, 3
RATIO = "ratio"
# Room in tokens for the first words of a passage without a heading, by which its question names it.
FIRST_WORDS = 64


class Preparation:
    """One pass. `event` receives how far it is."""

    def __init__(
        self,
        recipe: PrepareRecipe,
        tokenizer: TextTokenizer,
        template: Template,
        writer: TokensWriter,
        event: Callable[..., None],
    ) -> None:
        self._recipe, self._tokenizer, self._template, self._event = recipe, tokenizer, template, event
        self._writer, self.report = writer, Report()
        self._special = special_pattern(tokenizer)
        self._duplicates, self._duplicate_pieces = Duplicates(recipe.dedupe), Duplicates(recipe.dedupe)
        self._split: Split[TokenizedSample] = Split(recipe.eval_fraction, self._write)
        self._is_trusted = False
        self._began = time.monotonic()
        self._taken: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._weights: dict[str, float] = {}
        self._length_policy = LengthPolicy(recipe, tokenizer, template, self.report, self._candidate, self._encode)
        self._bos_id = tokenizer.backend.token_to_id(template.bos) if template.bos else None

    def run(self, sources: Sequence[Source]) -> None:
        """All sources, the author's first: how many general rows are taken follows from the author's."""
        self._pool = ThreadPoolExecutor(1)
        try:
            for source in sorted(sources, key=lambda source: source.role == "general"):
                self._event("stage", text=f"reading {source.name}")
                self._add(source)
        finally:
            self._pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the batch that is encoded now, and no other
        self._split.end()

    def _add(self, source: Source) -> None:
        counts = self.report.source(source.name, source.role)
        self._weights[source.name] = source.weight
        last: int | None = None
        if source.role == "general":
            in_ratio = math.ceil(self._taken["author"] * GENERAL_FOR / OF_THE_AUTHOR)
            rows = self._recipe.general_rows
            last = in_ratio if rows == RATIO else int(rows)
            counts.capped = self._taken["general"] >= last
        pending: deque[tuple[list[Candidate], Future[list[Encoded]]]] = deque()
        candidates = self._candidates(source, counts)
        while not counts.capped and (batch := list(islice(candidates, BATCH))):
            pending.append((batch, self._pool.submit(self._encode, batch)))
            if len(pending) > AHEAD:
                self._finish(*pending.popleft(), source, counts, last)
            self._report_progress()
        for batch, future in pending:
            self._finish(batch, future, source, counts, last)
        self._report_progress()

    def _report_progress(self) -> None:
        self._event("progress", rows=self.report.read, seconds=round(time.monotonic() - self._began, 1))

    # Rows → candidates

    def _candidates(self, source: Source, counts: SourceCounts) -> Iterator[Candidate]:
        columns = column_map((*self._recipe.map, *source.map))

        def count_bad(place: str, error: ConfigError) -> None:
            counts.read += 1
            self.report.drop(counts, place, "cannot be read", error.message)

        for place, row in read_rows(source, bad=count_bad if self._recipe.skip_bad else None):
            counts.read += 1
            try:
                yield from self._of_row(row, columns, place, counts)
            except ConfigError as error:
                if not self._recipe.skip_bad:
                    raise
                self.report.drop(counts, place, "cannot be used", error.message)

    def _of_row(
        self, row: Mapping[str, Any], columns: Mapping[str, str], place: str, counts: SourceCounts
    ) -> Iterator[Candidate]:
        parsed = parse_row(row, columns, place)
        if isinstance(parsed, str):
            self.report.drop(counts, place, parsed, str(row))
            return
        counts.shapes[parsed.shape] += 1
        if isinstance(parsed, MessagesRow):
            yield from self._conversation(parsed, place, counts)
        else:
            yield from self._document(parsed, place, counts)

    def _conversation(self, row: MessagesRow, place: str, counts: SourceCounts) -> Iterator[Candidate]:
        messages = [self._clean(message, counts) for message in row.messages]
        question = next((message for message in messages if message["role"] == "user"), messages[0])
        text = "\0".join(part for message in messages for part in message.values())
        if self._is_wanted(text, place, counts, self._duplicates):
            unit = "\n\n### Input:\n".join(filter(None, (question["content"], question.get("input"))))
            yield self._candidate(messages, split_hash(unit, self._recipe.seed), place)

    def _document(self, row: TextRow, place: str, counts: SourceCounts) -> Iterator[Candidate]:
        cleaned = without_controls(row.text)
        if not self._is_wanted(cleaned, place, counts, self._duplicates):
            return
        try:
            document = read_document(cleaned, row.format, row.title)  # type: ignore[arg-type]  # checked by parse_row
        except ConfigError as error:
            raise ConfigError(f"{place}: {error.message}", error.hint) from error
        counts.cleaned.update(document.removed)
        unit_hash = split_hash(cleaned, self._recipe.seed)
        make = self._raw if self._recipe.text_as == "raw" else self._passages
        is_empty = True
        for words, candidate in make(document, unit_hash, place):
            is_empty = False
            if self._is_wanted(words, candidate.place, counts, self._duplicate_pieces, candidate.prompt):
                yield candidate
        if is_empty:
            self.report.drop(counts, place, "empty text", cleaned)

    def _passages(self, document: Document, unit_hash: float, place: str) -> Iterator[tuple[str, Candidate]]:
        """The words of the document's passages and the passages, each small enough to be kept whole with the longest of
        its questions.
        """
        names = [shortened(section.heading, words=20, characters=120) for section in document.sections]
        title = shortened(document.title, words=20, characters=120)
        longest = f"Write the passage “{max([title, *names], key=len)}” of “{title}”, part 1000."
        frame = self._tokenizer.length(self._template.render([user(longest), assistant("")])) + FIRST_WORDS
        room = max(self._recipe.max_length - frame, 16)
        for number, passage in enumerate(passages(document, length=self._tokenizer.length, room=room), 1):
            messages = [user(passage.prompt), assistant(passage.text)]
            yield passage.text, self._candidate(messages, unit_hash, f"{place}#{number}")

    def _raw(self, document: Document, unit_hash: float, place: str) -> Iterator[tuple[str, Candidate]]:
        room = self._recipe.max_length - 2  # BOS and EOS
        for number, piece in enumerate(pieces(plain_text(document), length=self._tokenizer.length, room=room), 1):
            text = f"{self._template.bos}{piece}{self._template.eos}"
            yield piece, Candidate(text, None, None, unit_hash, "", f"{place}#{number}")

    def _clean(self, message: Message, counts: SourceCounts) -> Message:
        for name, text in message.items():
            if (cleaned := without_controls(text)) is not text:
                message = {**message, name: cleaned}
                counts.cleaned["control characters or line ends"] += 1
        return message

    def _is_wanted(self, text: str, place: str, counts: SourceCounts, seen: Duplicates, asked: str = "") -> bool:
        reason = seen.repeats(text)
        if reason is None and (self._special.search(text) or self._special.search(asked)):
            reason = "contains a special token"
        if reason:
            self.report.drop(counts, place, reason, text.replace("\0", "\n"))
        return reason is None

    def _candidate(self, messages: list[Message], unit_hash: float, place: str) -> Candidate:
        try:
            text = self._template.render(messages)
            spans = self._template.answers(messages, text) if self._recipe.loss == "completion" else None
        except ConfigError as error:
            raise ConfigError(f"{place}: {error.message}", error.hint) from error
        asked = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        return Candidate(text, spans, messages, unit_hash, asked, place)

    # Candidates → tokens, during the reading

    def _encode(self, batch: list[Candidate]) -> list[Encoded]:
        texts = [candidate.text for candidate in batch]
        if self._recipe.loss == "completion":
            encodings = self._tokenizer.encode_with_offsets(texts)
            ids = [encoding.ids for encoding in encodings]
            trained = [
                [0, len(encoding.ids)] if candidate.spans is None else token_spans(encoding.offsets, candidate.spans)
                for candidate, encoding in zip(batch, encodings, strict=True)
            ]
        else:
            ids = self._tokenizer.encode(texts)
            trained = [[0, len(row)] for row in ids]
        return [Encoded(*parts) for parts in zip(ids, trained, self._round_trips(texts, ids), strict=True)]

    def _round_trips(self, texts: list[str], ids: list[list[int]]) -> list[bool]:
        """Whether ids → text → ids is the identity: it is where the text comes back, since encoding is a function. A
        tokenizer that normalizes gives another text back; there it is tried. One that loses nothing by its build is
        trusted once a whole batch came back.
        """
        if self._is_trusted:
            return [True] * len(texts)
        decoded = self._tokenizer.decode(ids)
        same = [before == after for before, after in zip(texts, decoded, strict=True)]
        self._is_trusted = self._tokenizer.is_lossless and all(same)
        odd = [index for index, is_same in enumerate(same) if not is_same]
        for index, again in zip(odd, self._tokenizer.encode([decoded[index] for index in odd]), strict=True):
            same[index] = again == ids[index]
        return same

    # Tokens → samples

    def _finish(
        self,
        batch: list[Candidate],
        future: Future[list[Encoded]],
        source: Source,
        counts: SourceCounts,
        last: int | None,
    ) -> None:
        for candidate, encoded in zip(batch, future.result(), strict=True):
            for fitting, its_tokens in self._length_policy.fit(candidate, encoded, counts):
                if last is not None and self._taken["general"] >= last:
                    counts.capped = True
                    self.report.drop(counts, fitting.place, "beyond --general", fitting.text)
                else:
                    self._put(fitting, its_tokens, source, counts)

    def _put(self, candidate: Candidate, encoded: Encoded, source: Source, counts: SourceCounts) -> None:
        if not count_trained(encoded.trained):
            self.report.drop(counts, candidate.place, "trains nothing", candidate.text)
            return
        self._audit(candidate, encoded)
        self._taken[source.role] += 1
        sample = TokenizedSample(
            encoded.ids, encoded.trained, candidate.prompt, source.role, source.name, candidate.place
        )
        self._split.add(sample, candidate.unit_hash, is_author=source.role == "author")

    def _write(self, split: str, sample: TokenizedSample) -> None:
        times = 1
        if split == TRAIN:  # so often that all samples of the source come to its weight
            weight, before = self._weights[sample.source], self._written[sample.source]
            times = int((before + 1) * weight) - int(before * weight)
            self._written[sample.source] += 1
        for _ in range(times):
            self._writer.add(split, sample)
        if times:
            self.report.keep(split, sample, times)
        else:
            counts = self.report.sources[sample.source]
            self.report.drop(counts, sample.place, "left out by its weight", sample.prompt)

    def _audit(self, candidate: Candidate, encoded: Encoded) -> None:
        ids, problem = encoded.ids, self.report.problem
        if ids[-1] != self._template.eos_id or encoded.trained[-1] != len(ids):
            problem(f"do not end with a learnt {self._template.eos}", candidate.place)
        if not encoded.round_trips:
            problem("are not the same tokens when their text is read again", candidate.place)
        if max(ids) >= self._tokenizer.vocabulary:
            problem(f"have token ids beyond the model's embedding ({self._tokenizer.vocabulary})", candidate.place)
        if self._bos_id is not None and ids[:2] == [self._bos_id] * 2:
            problem(f"begin with two {self._template.bos}", candidate.place)


def token_spans(offsets: Sequence[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """The tokens that begin inside the character spans, as [start, end, …]."""
    starts = [start for start, _ in offsets]
    tokens: list[int] = []
    for start, end in spans:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        tokens += [first, last] if last > first else []
    return tokens
