"""Where a value comes from: defaults < preset < twinctl.toml < TWINCTL_* environment < flags; and the secrets."""
