"""What the owner should know of each kind of sandbox, in a line. Imports nothing, so that asking for it is quick."""

WEAKNESS = {
    "landlock": "weaker: that files exist, their sizes and times can be seen; disk, memory and processes are watched, "
    "not walled off",
}
"""By the name in records; nothing is to be said of the others."""
