"""Published tables and formulas, measured again with the shipped code; see `registry` for the list."""
