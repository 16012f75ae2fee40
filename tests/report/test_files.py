"""Files are written where they were asked for, and nothing else is touched."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from jaxinit.report.files import check, write, write_elsewhere

OLD, NEW = b"old contents, longer than the new", b"new"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(OLD)
    return path


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "r.json", NEW)
    finally:
        assert os.umask(before) == 0o027

    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_mode_is_kept(old, mode):
    old.chmod(mode)
    write(old, NEW)

    assert old.read_bytes() == NEW
    assert stat.S_IMODE(old.stat().st_mode) == mode


def test_links_stay_links(old, tmp_path):
    (tmp_path / "soft").symlink_to("middle")
    (tmp_path / "middle").symlink_to(old)
    write(tmp_path / "soft", NEW)

    assert (tmp_path / "soft").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert old.read_bytes() == NEW


def test_a_link_to_nothing_makes_what_it_points_to(tmp_path):
    (tmp_path / "soft").symlink_to("target")
    check(tmp_path / "soft")
    assert not (tmp_path / "target").exists()
    write(tmp_path / "soft", NEW)

    assert (tmp_path / "soft").is_symlink()
    assert (tmp_path / "target").read_bytes() == NEW


def test_hard_links_keep_sharing(old, tmp_path):
    os.link(old, tmp_path / "other")
    write(old, NEW)

    assert (tmp_path / "other").read_bytes() == NEW
    assert old.stat().st_nlink == 2


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check(pipe)  # does not wait for a reader
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe, NEW)
    reader.join(10)

    assert read == [NEW]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device():
    write("/dev/null", NEW)

    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_own_standard_output_goes_on(tmp_path):
    """Into a file: what is printed before and after is kept, in order."""
    code = (
        "from jaxinit.report.files import check, write\n"
        "print('before')\n"
        "check('/dev/stdout'); write('/dev/stdout', b'data\\n')\n"
        "print('after')\n"
    )
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    piped = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )

    assert (tmp_path / "out").read_bytes() == b"before\ndata\nafter\n"
    assert piped.stdout == b"before\ndata\nafter\n"


def test_process_substitution(tmp_path):
    code = "import sys; from jaxinit.report.files import *; write(sys.argv[1], b'new')"
    command = f'"{sys.executable}" -c "{code}" >(cat > got); wait $!; sleep 0.1'
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, env=os.environ)

    assert (tmp_path / "got").read_bytes() == NEW


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250)
    check(path)
    write(path, OLD)
    write(path, NEW)

    assert path.read_bytes() == NEW
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("no/where.json", FileNotFoundError, "no does not exist"),
        ("", IsADirectoryError, "is a folder"),
        ("n" * 300, OSError, "too long"),
        ("r.json/x", OSError, "Not a directory|does not exist"),
    ],
)
def test_bad_places_are_told_before_and_after(old, name, error, message):
    for function in (check, lambda path: write(path, NEW)):
        with pytest.raises(error, match=message):
            function(old.parent / name)
    assert old.read_bytes() == OLD


def test_check_touches_nothing(old):
    before = old.stat()
    check(old)
    check(old.parent / "other")

    assert old.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(old.parent) == ["r.json"]


def _full(monkeypatch, after):
    """A place that is full after so many bytes."""
    real, room = os.write, [after]

    def limited(handle, view):
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        done = real(handle, bytes(view[: room[0]]))
        room[0] -= done
        if room[0] <= 0:
            room[0] = 0
        return done

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.parametrize("links", [1, 2])
def test_a_full_place_leaves_the_old_file(old, tmp_path, monkeypatch, links):
    if links == 2:
        os.link(old, tmp_path / "other")
        real, calls = os.write, []

        def second_fails(handle, view):
            calls.append(len(view))
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            return real(handle, bytes(view[:1]) if len(calls) == 1 else view)

        monkeypatch.setattr(os, "write", second_fails)
    else:
        _full(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        write(old, NEW)

    assert old.read_bytes() == OLD
    assert sorted(os.listdir(tmp_path)) == ["other", "r.json"][2 - links :]


def test_an_interrupt_leaves_the_old_file(old, monkeypatch):
    def interrupted(handle, view):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(old, NEW)

    assert old.read_bytes() == OLD
    assert os.listdir(old.parent) == ["r.json"]


def test_a_folder_that_takes_no_new_file(old, monkeypatch):
    """The file itself can be written, so it is."""
    real = os.open

    def only_old(path, flags, *mode):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", only_old)
    write(old, NEW)

    assert old.read_bytes() == NEW


def test_elsewhere_keeps_the_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = write_elsewhere("no/where.json", NEW)

    assert name.endswith(".json")
    with open(name, "rb") as file:
        assert file.read() == NEW
