"""The owner's settings: command line before file before defaults; the file as people write it."""

import pytest

from peer.accept import Accept
from peer.config_file import ConfigFile
from peer.owner_settings import OwnerSettings, parse_share, parse_time, settings_from
from protocol.availability import parse_schedule
from protocol.errors import LocalError
from protocol.requirements import parse_size


def test_the_command_line_beats_the_file_and_the_file_the_defaults():
    settings = settings_from({"cores": "2", "nice": "5", "when-idle": "true"}, {"cores": "3", "accept": "ask"})
    assert settings == OwnerSettings(cores=3, nice=5, when_idle=True, accept=Accept.ASK)
    assert settings_from({"when-idle": "true"}, {"when-idle": "false"}) == OwnerSettings()


def test_the_file_may_be_written_by_hand_and_keeps_what_is_not_changed(tmp_path):
    file = ConfigFile(tmp_path / "new")
    assert file.read() == {}
    file.set("cores", "2")
    file.path.write_text(
        '# my machine\ncores = 4\nmemory = "8G" # enough\nwhen-idle = true\nruntimes = ["python"]\nmax-cpu = 0.5\n'
        'schedule = "22:00-07:00, 12:00-13:00"\n'
    )
    settings = settings_from(file.read(), {})
    assert (settings.cores, settings.memory, settings.when_idle) == (4, 8 * 2**30, True)
    assert (settings.runtimes, settings.max_cpu) == (("python",), 0.5)
    assert settings.schedule == parse_schedule("22:00-07:00,12:00-13:00")
    file.set("cores", "1")
    text = file.path.read_text()
    assert "# my machine" in text and "# enough" in text and text.count("cores") == 1


def test_a_file_that_cannot_be_changed_line_by_line_is_left_alone(tmp_path):
    file = ConfigFile(tmp_path)
    text = 'runtimes = [\n  "python",\n]\n'
    file.path.write_text(text)
    with pytest.raises(LocalError, match=r"not TOML|edit runtimes by hand"):
        file.set("runtimes", "python")
    assert file.path.read_text() == text


def test_the_sandbox_is_one_that_there_is():
    assert settings_from({"sandbox": "bubblewrap"}, {"sandbox": "landlock"}).sandbox == "landlock"
    assert OwnerSettings().sandbox == "auto"
    with pytest.raises(LocalError, match="--sandbox takes auto, bubblewrap, landlock, not 'wall'"):
        settings_from({}, {"sandbox": "wall"})


def test_sizes_shares_and_times():
    assert [parse_size(text) for text in ("64M", "1.5G", "8GiB", "2 TB", "70000000")] == [
        64 * 2**20, 3 * 2**29, 8 * 2**30, 2 * 2**40, 70_000_000,
    ]  # fmt: skip
    assert [parse_share(text) for text in ("50%", "0.5", "1", "100%", "12.5 %")] == [0.5, 0.5, 1, 1, 0.125]
    assert [parse_time(text, 86400.0) for text in ("90s", "30m", "2h", "1d")] == [90, 1800, 7200, 86400]
    for wrong in ("", "-1", "1e3", "٣%"):
        with pytest.raises(LocalError):
            parse_share(wrong)
