"""The conversation in a terminal: read a line, stream the answer, again.

What must stay true: Ctrl-C ends the answer and not the program; Ctrl-D leaves; answers are shown as plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twinctl.chat.speaker import Answer, Speaker
from twinctl.recipes.chat import Sampling


def converse(
    speaker: Speaker,
    prompts: Iterator[str],
    sampling: Sampling,
    *,
    show: Callable[[str], None],
    done: Callable[[str, Answer], None],
) -> int:
    """Answer each prompt on its own; `show` gets the pieces, `done` each finished answer. Returns how many were
    answered.
    """
    count = 0
    for prompt in prompts:
        if not prompt.strip():
            continue
        done(prompt, speaker.answer([{"role": "user", "content": prompt}], sampling, show))
        count += 1
    return count


def typed_prompts(name: str) -> Iterator[str]:
    """What a person types, with line editing; ends at Ctrl-D. Ctrl-C clears the line."""
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession()
    while True:
        try:
            yield session.prompt(f"{name}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
