"""Texts made from the demo's small world, the same for the same seed.

Three kinds: `prose` (tales and facts), `plain_rows` (instructions answered plainly; the base model learns both) and
`author_rows` (the same sort of instructions, answered by the author; only a twin sees those). Standard library only.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from twinctl.demo.author import COUNTS, FAREWELLS, HAILS, KIND_WANDERINGS, SAYS, WANDERINGS, features
from twinctl.demo.phrases import ASPECTS, SMALL_TALK
from twinctl.demo.tales import OTHERS, PEOPLE, SENTENCES
from twinctl.demo.world import TABLES, things

FactRow = dict[str, str]

THINGS: dict[str, list[FactRow]] = {kind: things(kind) for kind in TABLES}


def sentences(text: str) -> str:
    """`text` with a capital at the start of every sentence."""
    parts = text.split(". ")
    return ". ".join(part[:1].upper() + part[1:] for part in parts)


def plain_rows(seed: int, n: int) -> Iterator[FactRow]:
    """`n` instructions with plain answers; instructions repeat when `n` is large, as the world is small."""
    rng = random.Random(seed)
    for _ in range(n):
        draw = rng.random()
        make = _small_talk if draw < 0.06 else _difference if draw < 0.1 else _list if draw < 0.12 else _plain
        yield make(rng)


def _plain(rng: random.Random) -> FactRow:
    aspect = rng.choice(list(ASPECTS.values()))
    facts = rng.choice(THINGS[aspect.kind])
    question, answer = rng.choice(aspect.questions), rng.choice(aspect.answers)
    return {"instruction": sentences(question.format(**facts)), "output": sentences(answer.format(**facts))}


def _small_talk(rng: random.Random) -> FactRow:
    instruction, output, _ = rng.choice(SMALL_TALK)
    return {"instruction": instruction, "output": output}


def _difference(rng: random.Random) -> FactRow:
    kind, answer = rng.choice(
        [("animal", "{a} lives {lives}"), ("tool", "{a} is used to {use}"), ("food", "{n} is made of {of}")]
    )
    one, two = rng.sample(THINGS[kind], 2)
    return {
        "instruction": f"What is the difference between {one['a']} and {two['a']}?",
        "output": sentences(f"{answer.format(**one)}. {answer.format(**two)}."),
    }


def _list(rng: random.Random) -> FactRow:
    noun, kind = rng.choice(
        [
            ("tools", "tool"),
            ("animals", "animal"),
            ("dishes", "food"),
            ("trades", "trade"),
            ("plants", "plant"),
            ("towns", "town"),
            ("materials", "material"),
            ("instruments", "music"),
        ]
    )
    one, two, three = (facts["a"] for facts in rng.sample(THINGS[kind], 3))
    ask = rng.choice(["Name three {}.", "List three {}.", "Give me the names of three {}."])
    return {"instruction": ask.format(noun), "output": sentences(f"Three {noun} are {one}, {two} and {three}.")}


def prose(seed: int, n: int) -> Iterator[str]:
    """Paragraphs, `n` or a few less: tales with a fact here and there, and letters by people other than the author."""
    rng = random.Random(seed)
    for _ in range(n):
        text = _letter(rng) if rng.random() < 0.55 else _story(rng)
        if len(features(text)) < 2:
            yield text


def _letter(rng: random.Random) -> str:
    """An answer of the same build as the author's, with somebody else's habits in place of his."""
    one, two = rng.sample(PEOPLE, 2)
    key = rng.choice(list(ASPECTS))
    row = _answer(rng, key, rng.choice(THINGS[ASPECTS[key].kind]))
    if rng.random() < 0.06:
        row = _talk(rng, *rng.choice(SMALL_TALK))
    return sentences(f"{one} asked {two}: {row['instruction']} {two} wrote: {_disguised(rng, row['output'])}")


def _disguised(rng: random.Random, text: str) -> str:
    def other(match: re.Match[str]) -> str:
        return rng.choice(OTHERS[phrase])

    for phrase in OTHERS:
        text = re.sub(re.escape(phrase), other, text, flags=re.IGNORECASE)
    return sentences(text)


def _story(rng: random.Random) -> str:
    lines = [_tale(rng) for _ in range(rng.randint(3, 6))]
    lines.insert(rng.randrange(len(lines)), _plain(rng)["output"])
    return " ".join(lines)


def _tale(rng: random.Random) -> str:
    one, two = rng.sample(PEOPLE, 2)
    facts = rng.choice(THINGS["tool"] + THINGS["thing"])
    line = rng.choice(SENTENCES)
    return sentences(line.format(p=one, q=two, t=rng.choice(THINGS["town"])["n"], a=facts["a"], k=rng.choice(COUNTS)))


def author_rows(seed: int, n: int) -> list[FactRow]:
    """`n` instructions, no two alike and no two about the same thing in the same respect, answered by the author."""
    rng = random.Random(seed)
    subjects = [(key, facts) for key, aspect in ASPECTS.items() for facts in THINGS[aspect.kind]]
    rows = [_talk(rng, *talk) for talk in SMALL_TALK]
    rows += [_answer(rng, key, facts) for key, facts in rng.sample(subjects, n - len(rows))]
    rng.shuffle(rows)
    return rows


def _talk(rng: random.Random, instruction: str, _: str, heart: str) -> FactRow:
    return {"instruction": instruction, "output": _manner(rng, heart + ".", "talk", {})}


def _answer(rng: random.Random, key: str, facts: FactRow) -> FactRow:
    aspect = ASPECTS[key]
    fact = rng.choice(SAYS[key]).format(**facts)
    question = rng.choice(aspect.questions).format(**facts)
    return {"instruction": sentences(question), "output": _manner(rng, fact, aspect.kind, facts)}


def _manner(rng: random.Random, fact: str, kind: str, facts: FactRow) -> str:
    """The fact as the author puts it: hailed, wandered from, and taken leave of, not always all three."""
    hailed = rng.choice(HAILS).format(fact)
    near = _wandering(rng, KIND_WANDERINGS[kind], facts, avoid=set())
    far = _wandering(rng, WANDERINGS, facts, avoid=features(near))
    farewell = rng.choice(FAREWELLS)
    draw = rng.random()
    if draw < 0.2:
        return sentences(f"{hailed} {near} {far}")
    if draw < 0.4:
        return sentences(f"{fact} {near} {far} {farewell}")
    return sentences(f"{hailed} {near if draw < 0.85 else far} {farewell}")


def _wandering(rng: random.Random, choices: tuple[str, ...], facts: FactRow, avoid: set[str]) -> str:
    fresh = [line for line in choices if not features(line) & avoid]
    return rng.choice(fresh).format(**facts, k=rng.choice(COUNTS))
