"""Where the contact key is looked for, how a new one comes about, and what is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.contacts.key import (
    ACCEPT_VARIABLE,
    DEMO_KEY,
    FILE_VARIABLE,
    KEY_FILE,
    KEY_VARIABLE,
    SIMULATED_KEY,
    ContactKey,
    find_key,
    fingerprint,
    given_key,
    marked,
    require_same,
    weakness,
)
from engine.errors import ConfigError, StorageError

GOOD = "f3 9a heron c1 blue 77"
OTHER = "0b 44 stone 9e green 12"


def find(environment: dict[str, str], folder: Path, **more: object) -> ContactKey:
    return find_key(environment, owner="decide", beside=[folder], create_in=folder, **more)  # type: ignore[arg-type]


def test_a_new_key_is_random_private_and_used_again(tmp_path: Path) -> None:
    first = find({}, tmp_path)
    again = find({}, tmp_path)
    assert (first.created, again.created) == (True, False)
    assert first.text == again.text
    assert len(bytes.fromhex(first.text)) == 32
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    other = tmp_path / "other"
    other.mkdir()
    assert find({}, other).text != first.text
    assert weakness(first.text) is None


def test_what_is_given_comes_before_what_lies_there(tmp_path: Path) -> None:
    there = find({}, tmp_path)
    (tmp_path / "given").write_text(GOOD + "\n")
    (tmp_path / "named").write_text(OTHER)
    assert find({KEY_VARIABLE: GOOD}, tmp_path).text == GOOD
    assert find({FILE_VARIABLE: str(tmp_path / "named")}, tmp_path).text == OTHER
    assert find({KEY_VARIABLE: OTHER}, tmp_path, file=tmp_path / "given").text == GOOD
    assert find({KEY_VARIABLE: GOOD}, tmp_path).file is None
    assert find({}, tmp_path).text == there.text


def test_two_variables_must_agree(tmp_path: Path) -> None:
    (tmp_path / "named").write_text(OTHER)
    with pytest.raises(ConfigError, match="different contact keys") as caught:
        find({KEY_VARIABLE: GOOD, FILE_VARIABLE: str(tmp_path / "named")}, tmp_path)
    assert GOOD not in str(caught.value)
    (tmp_path / "named").write_text(GOOD)
    assert find({KEY_VARIABLE: GOOD, FILE_VARIABLE: str(tmp_path / "named")}, tmp_path).text == GOOD


@pytest.mark.parametrize(
    "key",
    [
        SIMULATED_KEY,
        DEMO_KEY,
        "short",
        "fifteen letters",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "abababababababababababab",
        "changeme-changeme",
        "Change Me Please Now",
        "<your-key-goes-here>",
        "a secret of yours",
        "my-secret-key-of-2026",
        "1234567890123456",
        "Password-Password",
        "tactful-tactful-tactful",
    ],
)
def test_weak_keys_are_refused_unless_accepted(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too weak") as caught:
        find({KEY_VARIABLE: key}, tmp_path)
    assert "openssl" in caught.value.hint
    (tmp_path / KEY_FILE).write_text(key)
    with pytest.raises(ConfigError, match="too weak"):
        find({}, tmp_path)
    accepted = find({KEY_VARIABLE: key, ACCEPT_VARIABLE: "yes"}, tmp_path)
    assert accepted.text == key
    assert any("hides nobody" in warning for warning in accepted.warnings)


@pytest.mark.parametrize("text", ["", "  \n", "two\nlines of a good key", "\x1b[31mred key of colours", "\ud800" * 20])
def test_what_is_no_key_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no contact key"):
        find({KEY_VARIABLE: text}, tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    (tmp_path / "large").write_bytes(b"x" * 5000)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("missing", ".", "binary", "large", "empty"):
        with pytest.raises(ConfigError):
            find({}, tmp_path, file=tmp_path / name)
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        find({}, tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_others_may_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.write_text(GOOD)
    path.chmod(0o644)
    assert any("chmod 600" in warning for warning in find({}, tmp_path, file=path).warnings)
    path.chmod(0o600)
    assert find({}, tmp_path, file=path).warnings == ()


def test_no_new_key_for_data_that_have_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=fingerprint(GOOD)):
        find({}, tmp_path, expected=fingerprint(GOOD))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="needs the contact key"):
        find_key({}, owner="dispatch", beside=[tmp_path])
    assert given_key({}, owner="join") is None


def test_of_several_folders_the_fitting_key_is_taken(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        keys.append(find({}, tmp_path / name))
    folders = [tmp_path / "a", tmp_path / "b"]
    for key in keys:
        assert find_key({}, owner="dispatch", beside=folders, expected=key.fingerprint).text == key.text


def test_a_folder_that_is_not_there_keeps_no_key(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=KEY_FILE):
        find({}, tmp_path / "nowhere")


def test_another_key_is_noticed() -> None:
    require_same(fingerprint(GOOD), GOOD, where="the log")
    require_same(None, GOOD, where="the log")
    require_same(msgspec.UNSET, GOOD, where="the log")
    with pytest.raises(ConfigError, match="the log was written under") as caught:
        require_same(fingerprint(GOOD), OTHER, where="the log")
    assert GOOD not in str(caught.value)
    assert OTHER not in str(caught.value)


def test_the_key_is_in_no_repr_and_not_in_its_fingerprint() -> None:
    key = ContactKey(GOOD, "environment")
    assert GOOD not in repr(key)
    assert GOOD not in str(key)
    assert len(key.fingerprint) == 16
    assert fingerprint(OTHER) != key.fingerprint
    assert marked(DEMO_KEY) is marked(SIMULATED_KEY) is msgspec.UNSET
    assert marked(GOOD) == key.fingerprint


def test_processes_that_start_at_once_agree(tmp_path: Path, root: Path) -> None:
    """Six processes that wait for one signal make a key in the same folder: all print the same one."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom engine.contacts.key import find_key\n"
        "folder = Path(sys.argv[1])\n"
        "while not (folder / 'go').exists(): time.sleep(0.001)\n"
        "print(find_key({}, owner='decide', beside=[folder], create_in=folder).text)"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(6)
    ]
    (tmp_path / "go").touch()
    said = {process.communicate()[0] for process in started}
    assert len(said) == 1
    assert said == {(tmp_path / KEY_FILE).read_text()}
    assert {path.name for path in tmp_path.iterdir()} == {"go", KEY_FILE}
