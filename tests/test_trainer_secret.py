"""The secret of gateway and trainer: where it is found, and that only its owner may use the file."""

import threading

import pytest

from earmark.configuration import SettingsError
from earmark.trainer_secret import FILE, find_secrets, is_loopback, make_secret


def test_services_that_start_at_the_same_time_find_the_same_secret(tmp_path) -> None:
    assert find_secrets(None, tmp_path) == ()
    barrier, made = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        made.append(make_secret(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert find_secrets(None, tmp_path) == made[0]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_may_use_is_refused(tmp_path) -> None:
    make_secret(tmp_path)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(SettingsError, match=r"\(mode 040 for them\): make it 0600"):
        find_secrets(None, tmp_path)


def test_the_setting_has_one_secret_or_several_while_they_are_replaced(tmp_path) -> None:
    make_secret(tmp_path)
    new, old = "n" * 32, "o" * 64
    assert find_secrets(f"{new}, {old}", tmp_path) == (new.encode(), old.encode())
    with pytest.raises(SettingsError, match="a secret of 31 characters: it needs 32 or more") as caught:
        find_secrets("n" * 31, tmp_path)
    assert "nnn" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("10.0.0.7", False),
        ("localhost.example.com", False),
        ("trainer", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected) -> None:
    assert is_loopback(host) is expected
