"""The owner's settings on disk: `config.toml` in the data folder, written by `peer config` or by hand."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from peer.owner_settings import KEYS, parse_setting
from protocol.errors import LocalError

CONFIG_NAME = "config.toml"
CONFIG_BYTES_MAX = 64 * 1024


class ConfigFile:
    """The file of one data folder; it need not be there. All methods raise `LocalError`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CONFIG_NAME

    def read(self) -> dict[str, str]:
        """The settings as text, each of them checked; errors name file and key."""
        values = self._values(self._text())
        for key, text in values.items():
            parse_setting(key, text, f"{self.path}: {key}")
        return values

    def set(self, key: str, text: str) -> None:
        """Set one key; other lines stay as they are, comments included."""
        parse_setting(key, text, key)
        self._change(key, f"{key} = {json.dumps(text.strip(), ensure_ascii=False)}")

    def unset(self, key: str) -> bool:
        """Forget one key; whether it was set."""
        if key not in KEYS:
            parse_setting(key, "", key)
        was_set = key in self._values(self._text())
        if was_set:
            self._change(key, None)
        return was_set

    def _change(self, key: str, line: str | None) -> None:
        old = self._text()
        lines = [one for one in old.splitlines() if not re.match(rf'\s*"?{re.escape(key)}"?\s*=', one)]
        fresh = "\n".join([*lines, *([line] if line else [])]) + "\n"
        wanted = {name: text for name, text in self._values(old).items() if name != key}
        found = {name: text for name, text in self._values(fresh).items() if name != key or line is None}
        if wanted != found:
            raise LocalError(f"{self.path} is written in a way that cannot be changed from here: edit {key} by hand")
        self._write(fresh)

    def _write(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            raise LocalError(f"cannot write {self.path}: {error.strerror}") from error

    def _text(self) -> str:
        try:
            with self.path.open(encoding="utf-8") as file:
                text = file.read(CONFIG_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            # Whoever uses the folder for more than this file says what is wrong with it.
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise LocalError(f"cannot read {self.path}: {error}") from error
        if len(text) > CONFIG_BYTES_MAX:
            raise LocalError(f"{self.path} is larger than {CONFIG_BYTES_MAX // 1024} KiB")
        return text

    def _values(self, text: str) -> dict[str, str]:
        try:
            return _as_texts(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise LocalError(f"{self.path} is not TOML: {error}") from error


def _as_texts(values: Mapping[str, object]) -> dict[str, str]:
    """As they would be typed on the command line: lists with commas, true and false in small letters."""
    return {key: _as_text(value) for key, value in values.items()}


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
