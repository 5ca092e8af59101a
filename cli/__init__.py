"""The `peer` command. It holds no rule of its own and starts fast."""
