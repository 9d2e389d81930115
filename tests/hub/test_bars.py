"""What is said while the client draws its bars stays on the screen, above them."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios

import pyte

SCRIPT = """
import sys, time
from huggingface_hub.utils.tqdm import tqdm
from twinctl.hub.publish import _above_bars

say = _above_bars(lambda text: print(text, file=sys.stderr))
say("sending")
bars = [tqdm(total=10, desc=name, position=row, mininterval=0) for row, name in enumerate(["kept", "sent"])]
for step in range(10):
    for bar in bars:
        bar.update(1)
    if step in (2, 6):
        say(f"the Hub answered 50{step}; trying again")
for bar in bars:
    bar.close()
say("done")
"""


def screen_of(script: str) -> list[str]:
    """The lines on a terminal once the script has ended."""
    child, terminal = pty.fork()
    if child == 0:
        termios.tcsetwinsize(0, (30, 100))
        os.execv(sys.executable, [sys.executable, "-c", script])
    screen = pyte.Screen(100, 30)
    stream = pyte.ByteStream(screen)
    while select.select([terminal], [], [], 60)[0]:
        try:
            stream.feed(os.read(terminal, 2**16))
        except OSError:  # the script has ended
            break
    assert os.waitpid(child, 0)[1] == 0
    return [line.rstrip() for line in screen.display if line.strip()]


def test_a_line_that_is_said_stays_above_the_bars() -> None:
    said, bars = [], []
    for line in screen_of(SCRIPT):
        (bars if line.startswith(("kept:", "sent:")) else said).append(line)
    assert said == ["sending", "the Hub answered 502; trying again", "the Hub answered 506; trying again", "done"]
    assert [bar.split(":")[0] for bar in bars] == ["kept", "sent"]
    assert all("10/10" in bar for bar in bars)
