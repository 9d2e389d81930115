"""The model card: what people on the Hub read about a twin, made from the records.

What must stay true: a card says what the records say and nothing that nobody knows; it names no path, user, host or
local file, and no text of anybody's can break it; what a person wrote into a pushed card stays.
"""

from twinctl.publishing.facts import gguf_results
from twinctl.publishing.render import Card, render
from twinctl.publishing.user_edits import merge_with_existing

__all__ = ["Card", "gguf_results", "merge_with_existing", "render"]
