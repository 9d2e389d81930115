"""comet_ml's settings: private, quiet, bounded.

What must stay true: these are in the environment before anything imports comet_ml. transformers imports it whenever
it is installed, with or without a key, and the import alone starts error reports to a third party and hooks the
training libraries to log on their own.
"""

from __future__ import annotations

import os

_PRIVATE = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "0",
    "COMET_INTERNAL_REPORTING": "0",
}
_QUIET = {
    "COMET_DISABLE_ANNOUNCEMENT": "1",
    "COMET_DISPLAY_SUMMARY_LEVEL": "0",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
    "COMET_RICH_OUTPUT": "0",
}
_BOUNDED = {
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_CONNECT": "0",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_READ": "0",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_STATUS": "0",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": "0",
    "COMET_HTTP_SESSION_RETRY_TOTAL": "1",
    "COMET_TIMEOUT_API": "3",
    "COMET_TIMEOUT_CLEANING": "10",
    "COMET_TIMEOUT_HTTP": "3",
    "COMET_TIMEOUT_UPLOAD": "10",
}


def prepare_environment() -> None:
    """Set what comet_ml reads. A process that trains calls this before it imports transformers or Unsloth."""
    os.environ.update(_PRIVATE | _QUIET | _BOUNDED)
