import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from autoseg.errors import AutosegError
from autoseg.files import ABANDONED_AFTER, TEMPORARY, atomic, link, read_json, remove_folder, require_writable, sweep, write_json, write_text

HALF_WRITTEN = """
import os, signal, sys
from pathlib import Path
from autoseg.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def killed_while_writing(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_is_written_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "scan.nii.gz"
    with atomic(target) as temporary:
        temporary.write_bytes(b"first")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
    assert target.read_bytes() == b"first"
    assert names(target.parent) == ["scan.nii.gz"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "log.csv"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic(target) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["log.csv"]


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "log.csv"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic(target) as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert names(tmp_path) == ["log.csv"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("not a folder")
    with pytest.raises(AutosegError, match=r"Cannot write .*plans.x\.json: (Not a directory|File exists)"):
        write_text(tmp_path / "plans" / "x.json", "text")
    assert names(tmp_path) == ["plans"]


def test_a_kill_leaves_the_old_file_and_a_temporary_that_is_swept_away(tmp_path: Path) -> None:
    target = tmp_path / "weights.safetensors"
    write_text(target, "old")
    killed_while_writing(target)
    assert target.read_text() == "old"
    leftover = [name for name in names(tmp_path) if name != target.name]
    assert len(leftover) == 1 and TEMPORARY.fullmatch(leftover[0])
    sweep(tmp_path)
    assert names(tmp_path) == [target.name]


def test_sweeping_spares_living_writers_strangers_and_other_machines(tmp_path: Path) -> None:
    spared = [".hidden.nii.gz", ".autoseg-notes.txt", "autoseg-00000000-1-00000000.x", ".autoseg-00000000-99999999-00000000.other_machine"]
    for name in spared:
        (tmp_path / name).write_text("kept")
    with atomic(tmp_path / "mine") as temporary:
        temporary.write_text("being written")
        sweep(tmp_path)
        assert temporary.exists()
    assert names(tmp_path) == sorted([*spared, "mine"])


def test_sweeping_takes_what_nobody_touched_for_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".autoseg-00000000-1-00000000.old", tmp_path / ".autoseg-00000000-1-00000001.young"
    for path in (old, young):
        path.write_text("left")
    long_ago = time.time() - ABANDONED_AFTER - 60
    os.utime(old, (long_ago, long_ago))
    sweep(tmp_path)
    assert names(tmp_path) == [young.name]


def test_sweeping_where_there_is_no_folder_does_nothing(tmp_path: Path) -> None:
    sweep(tmp_path / "absent")
    (tmp_path / "file").write_text("kept")
    sweep(tmp_path / "file")
    assert names(tmp_path) == ["file"]


def test_many_writers_of_one_file_leave_one_of_their_texts(tmp_path: Path) -> None:
    target = tmp_path / "shared.txt"
    texts = [str(number) * 10_000 for number in range(8)]
    writers = [threading.Thread(target=write_text, args=(target, text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert target.read_text() in texts
    assert names(tmp_path) == ["shared.txt"]


def test_a_folder_goes_with_all_it_holds(tmp_path: Path) -> None:
    write_text(tmp_path / "fold_0" / "validation" / "a.txt", "x")
    write_text(tmp_path / "fold_1" / "a.txt", "x")
    remove_folder(tmp_path / "fold_0")
    assert names(tmp_path) == ["fold_1"]
    with pytest.raises(AutosegError, match="fold_7"):
        remove_folder(tmp_path / "fold_7")


def test_asking_whether_a_folder_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "not" / "yet" / "there")
    require_writable(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "plans").write_text("a file")
    for folder in (tmp_path / "plans", tmp_path / "plans" / "below"):
        with pytest.raises(AutosegError, match=f"Cannot write into {folder}: .*Not a directory"):
            require_writable(folder)


def test_json_survives_and_not_a_number_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, float("nan")], "ä": {"b": (float("nan"), None)}})
    assert read_json(path) == {"a": [1, 2.5, None], "ä": {"b": [None, None]}}
    assert "ä" in path.read_text(encoding="utf-8")


def test_what_editors_and_accidents_make_of_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}')
    assert read_json(path) == {"a": 1}, "a byte order mark is no fault"
    for content, said in (
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', r"x\.json has the key 'b' twice in one object"),
        ('{"a": "ä"}'.encode("utf-16"), "is no text in UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ):
        path.write_bytes(content)
        with pytest.raises(AutosegError, match=said):
            read_json(path)
    with pytest.raises(AutosegError, match="is a folder"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'{"a": 1,\n "b": }', "line 2, column 7"), (b"", "line 1, column 1"), (b"\xff\xfe", "is no text in UTF-8"), (None, "does not exist")],
)
def test_damaged_json_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AutosegError, match=said) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_what_need_not_be_durable_still_appears_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "record", "old")
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "record", durable=False) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "record").read_text() == "old"
    write_json(tmp_path / "record", {"new": 1}, durable=False)
    assert read_json(tmp_path / "record") == {"new": 1}
    assert names(tmp_path) == ["record"]


def test_a_linked_file_keeps_its_content_when_the_first_is_replaced(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "deep" / "second"
    write_text(first, "one")
    link(first, second)
    assert second.samefile(first)
    link(first, second)  # over itself
    assert (names(tmp_path), names(second.parent)) == (["deep", "first"], ["second"])
    write_text(first, "two")
    assert second.read_text() == "one"
    link(first, second)  # over what was there
    assert second.read_text() == "two"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_a_link_to_another_file_system_is_a_copy(tmp_path: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        write_text(tmp_path / "first", "one")
        link(tmp_path / "first", Path(elsewhere) / "second")
        assert names(Path(elsewhere)) == ["second"]
        assert (Path(elsewhere) / "second").read_text() == "one"


def test_a_link_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(AutosegError, match=r"Cannot write .*file/second"):
        link(tmp_path / "file", tmp_path / "file" / "second")
    with pytest.raises(AutosegError, match=r"Cannot write .*second"):
        link(tmp_path / "absent", tmp_path / "second")
    assert names(tmp_path) == ["file"]
