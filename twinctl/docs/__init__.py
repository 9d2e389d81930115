"""The manual: one Markdown page a topic, shipped with the package; `twinctl docs` shows them."""
