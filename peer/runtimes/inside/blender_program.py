"""Run by the `blender` program, or by a Python with bpy: requests in, answers out, on the descriptors after `--`.

A line of JSON each: `{"do": NAME, "with": [...]}` calls that function of `blender_scene.py`, and is answered by
`{"ok": RESULT}` or `{"error": TEXT}`.
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

import blender_scene  # type: ignore[import-not-found]


def main() -> None:
    """Until the requests end."""
    reading, writing = (int(word) for word in sys.argv[sys.argv.index("--") + 1 :][:2])
    with os.fdopen(reading, encoding="utf-8") as requests, os.fdopen(writing, "w", encoding="utf-8") as answers:
        for line in requests:
            request = json.loads(line)
            try:
                answer = {"ok": getattr(blender_scene, request["do"])(*request["with"])}
            except Exception as error:  # noqa: BLE001 - whatever Blender raises is the answer
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


main()
