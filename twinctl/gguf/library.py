"""llama.cpp's shared library, as the runtime's wheel brings it: nothing is compiled, and the package is not imported.

What must stay true: a library is taken only if it exports every function that is asked for, so that another version
fails here, by name, and not at some later call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twinctl.errors import EngineError

_PACKAGE = "xllamacpp"
_SUFFIXES = (".so", ".dylib", ".pyd", ".dll")


def load_library(signatures: Mapping[str, tuple[Any, ...]]) -> Any:
    """The library with these functions, name -> (result, *arguments), their ctypes set; the same file may be loaded
    for other functions too. Raises EngineError, with what is missing, where there is none.
    """
    paths: list[Path] = []
    spec = find_spec(_PACKAGE)
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for location in (folder, folder / "lib", folder.with_name(f"{_PACKAGE}.libs")):  # some wheels add the last one
            files = sorted(location.glob("*"))
            paths += [path for path in files if path.suffix in _SUFFIXES or ".so." in path.name]
    why: Exception | str = "it is not installed, or holds no library"
    for path in paths:
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, *arguments) in signatures.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:  # one that cannot be loaded by itself, or holds something else
            why = error
        else:
            return library
    raise EngineError(
        f"llama.cpp cannot be used from the package {_PACKAGE}: {why}",
        f"uv sync, or pip install --force-reinstall {_PACKAGE}",
    )
