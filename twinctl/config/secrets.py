"""The two secrets, HF_TOKEN and COMET_API_KEY: read, kept in the process's environment, and nowhere else.

What must stay true: no secret is ever written to a file or shown. They come from the environment or the working
directory's .env; any other key in .env is ignored. The libraries read them from the environment, so the environment
is their only room.
"""

from __future__ import annotations

import os
from pathlib import Path

from twinctl.errors import ConfigError

NAMES = ("HF_TOKEN", "COMET_API_KEY")
# Shorter values would turn ordinary words of a message into stars.
SHORTEST = 6


def load_secrets() -> None:
    """Put the .env's two secrets into the environment, where a value is not there yet."""
    if not Path(".env").is_file():
        return
    from dotenv import dotenv_values

    found = dotenv_values(".env", interpolate=False)
    for name in NAMES:
        value = found.get(name)
        if value and not os.environ.get(name):
            os.environ[name] = value


def refuse_secret(what: str, value: object) -> None:
    """Raise ConfigError when a setting contains a secret: settings are recorded, secrets never are."""
    for name in NAMES:
        secret = os.environ.get(name, "")
        if len(secret) >= SHORTEST and secret in str(value):
            raise ConfigError(f"{what} contains the value of {name}", f"{name} belongs in the environment or in .env")


def redact(text: str) -> str:
    """The text with every secret's value replaced by its name: for all that is shown or recorded."""
    for name in NAMES:
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST:
            text = text.replace(value, f"<{name}>")
    return text
