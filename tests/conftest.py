"""What every test starts from: no network, no secrets, no settings of the person who runs them."""

from __future__ import annotations

import os
import signal

for name in list(os.environ):
    if name.startswith(("TWINCTL_", "COMET_", "HF_")):
        del os.environ[name]
os.environ.update(HF_HUB_OFFLINE="1", NO_COLOR="1", COLUMNS="120", TOKENIZERS_PARALLELISM="false")

# A shell that runs the tests in the background lets them ignore Ctrl-C, and so would every command they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
