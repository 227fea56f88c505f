"""Downloads of published networks, from a real server on this machine that breaks off, refuses and changes its mind."""

import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import requests

import rrl.bars
import rrl.cli.fetch
import rrl.data.downloads
import rrl.networks.checkpoints
import rrl.stages.download
from docs.published import checkpoints_page
from rrl.cli.fetch import fetch_all
from rrl.data.downloads import ATTEMPTS
from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.checkpoints import FIRST_USE, Checkpoint, checkpoints, pins, planned_sha256
from rrl.stages.download import download, main

FILE = "kind/one.pth.tar"
CONTENT = random.Random(0).randbytes(1_000_003)
RUNS = [f"kind/checkpoint_run{i}.pth.tar" for i in range(3)]
HTML = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
QUOTA = b'<html><p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></html>'


@dataclass
class Answer:
    """To one request. cut: bytes of the content after which the connection breaks off; seconds: before it begins."""

    status: int = 200
    body: bytes | None = None  # the site's content, unless given
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    seconds: float = 0
    length: bool = True


@dataclass
class Site:
    """What the server does, and what it was asked. `answers` are given first, one per request."""

    address: str
    content: bytes = CONTENT
    etag: str = '"1"'
    ranges: bool = True
    heeds_if_range: bool = True
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    cuts: int = 0


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.asked.append(dict(self.headers))
        answer = site.answers.pop(0) if site.answers else Answer()
        if answer.seconds:
            time.sleep(answer.seconds)
        body = site.content if answer.body is None else answer.body
        headers = {"Content-Type": "application/octet-stream", "ETag": site.etag} | answer.headers
        status = answer.status
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers["If-Range"] == site.etag or not site.heeds_if_range
        if status == 200 and wanted and site.ranges and same:
            start, size = int(wanted[1]), len(body)
            status = 206 if start < size else 416
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}" if start < size else f"bytes */{size}"
            body = body[start:]
        if answer.length:
            headers["Content-Length"] = str(len(body))
        site.statuses.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.cut is not None and answer.cut < len(body):
            body = body[: answer.cut]
            site.cuts += 1
        self.wfile.write(body)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.site = Site(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server.site  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def registry(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Checkpoint]:
    """One file, and an archive of three, on the site; no pins; next to no waiting."""
    entries = {"one": entry([FILE], f"{site.address}/one"), "runs": entry(RUNS, f"{site.address}/runs", archive=True)}
    monkeypatch.setattr(rrl.stages.download, "checkpoints", lambda: entries)
    monkeypatch.setattr(rrl.cli.fetch, "checkpoints", lambda: entries)
    monkeypatch.setattr(rrl.data.downloads, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(rrl.networks.checkpoints, "PINS", tmp_path / "pins.json")
    forget_pins()
    return entries


@pytest.fixture
def folder(registry: dict[str, Checkpoint], tmp_path: Path) -> Path:
    return tmp_path / "my checkpoints"


@pytest.fixture
def drive(site: Site, registry: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    """The one file is on Google Drive, and the site is Google Drive."""
    send = requests.adapters.HTTPAdapter.send

    def to_site(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        request.url = request.url.replace("https://drive.google.com", site.address)
        return send(self, request, *arguments, **named)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", to_site)
    registry["one"] = entry([FILE], "drive:abc")


def entry(files: list[str], *sources: str, archive: bool = False) -> Checkpoint:
    return Checkpoint(
        arch="resnet50",
        format="rrl",
        files=files,
        sources=list(sources),
        archive=archive,
        trained_on="imagenet",
        licence="none",
    )


def forget_pins() -> None:
    rrl.networks.checkpoints.PINS.write_text("{}\n")


def set_pin(file: str, content: bytes, **changes: Any) -> None:
    found = {"sha256": sha256(content), "size": len(content), "first_use": sha256(content)}
    rrl.networks.checkpoints.PINS.write_text(json.dumps({file: found | changes}))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def left(folder: Path) -> set[str]:
    """All files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def refusal(file: str, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        download(file, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_hundred_cut_connections(site: Site, folder: Path, ranges: bool) -> None:
    draw = random.Random(1)
    site.ranges = ranges
    while site.cuts < 100:
        site.answers = [Answer(cut=draw.randrange(len(CONTENT))) for _ in range(draw.randrange(1, ATTEMPTS))]
        assert download(FILE, folder).read_bytes() == CONTENT
        assert left(folder) == {FILE}
        (folder / FILE).unlink()
        forget_pins()
    assert (206 in site.statuses) == ranges


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(site: Site, folder: Path) -> None:
    site.answers = [Answer(cut=600_000), *[Answer(cut=0)] * (ATTEMPTS - 1)]
    message = refusal(FILE, folder)
    assert f"after {ATTEMPTS} attempts" in message and str(folder / FILE) in message
    assert left(folder) == {f"{FILE}.partial", f"{FILE}.partial.json"}
    size = (folder / f"{FILE}.partial").stat().st_size
    assert 500_000 < size <= 600_000
    site.asked.clear()
    assert download(FILE, folder).read_bytes() == CONTENT
    (asked,) = site.asked
    assert (asked["Range"], asked["If-Range"]) == (f"bytes={size}-", '"1"')
    assert left(folder) == {FILE}


def test_a_partial_file_of_unknown_version_is_begun_anew(site: Site, folder: Path) -> None:
    (folder / "kind").mkdir(parents=True)
    (folder / f"{FILE}.partial").write_bytes(b"something else")
    assert download(FILE, folder).read_bytes() == CONTENT
    assert "Range" not in site.asked[0]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changes_during_the_download(site: Site, folder: Path, heeds_if_range: bool) -> None:
    site.heeds_if_range = heeds_if_range
    site.answers = [Answer(cut=600_000), *[Answer(cut=0)] * (ATTEMPTS - 1)]
    refusal(FILE, folder)
    site.content, site.etag = CONTENT[::-1], '"2"'
    assert download(FILE, folder).read_bytes() == CONTENT[::-1]


def test_passing_failures_are_tried_again(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answers = [Answer(500, b""), Answer(429, b"", {"Retry-After": "0"}), Answer(503, b"", {"Retry-After": "1"})]
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert download(FILE, folder).read_bytes() == CONTENT
    assert waits == [rrl.data.downloads.FIRST_WAIT, 0, 1]
    assert "HTTP status 503; trying again in 1 s" in capsys.readouterr().err


def test_the_next_source_is_tried(site: Site, registry: dict[str, Checkpoint], folder: Path) -> None:
    registry["one"] = entry([FILE], f"{site.address}/a", f"{site.address}/b")
    site.answers = [Answer(404, b"gone"), Answer(cut=10)]
    assert download(FILE, folder).read_bytes() == CONTENT
    assert left(folder) == {FILE}


OTHER = bytes(10)
REFUSALS: list[tuple[list[Answer], str]] = [
    ([Answer(404, b"gone")], "HTTP status 404"),
    ([Answer(500, b"")] * ATTEMPTS, f"HTTP status 500, after {ATTEMPTS} attempts"),
    ([Answer(429, b"", {"Retry-After": "3600"})], "HTTP status 429, asks to wait for 3600 s"),
    ([Answer(body=HTML, headers={"Content-Type": "text/html; charset=utf-8"})], "an HTML page instead of a file"),
    ([Answer(body=HTML)], "an HTML page instead of a network"),
    ([Answer(length=False)], "announces no size"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSALS, ids=[reason for _, reason in REFUSALS])
def test_what_is_no_file(site: Site, folder: Path, answers: list[Answer], reason: str) -> None:
    site.answers = list(answers)
    message = refusal(FILE, folder)
    assert message.startswith(f"{FILE}: not available ({site.address}/one: {reason}")
    assert message.endswith(f"put by hand at {folder / FILE}")
    assert left(folder) == set() and pins() == {}


def test_no_server_and_no_file_anywhere(site: Site, registry: dict[str, Checkpoint], folder: Path) -> None:
    nobody = "http://127.0.0.1:9/x"
    registry["one"] = entry([FILE], nobody, f"{site.address}/b")
    site.answers = [Answer(404, b"gone")]
    message = refusal(FILE, folder)
    assert f"{site.address}/b: HTTP status 404" in message
    assert re.search(rf"{nobody}: .*Connection refused", message)
    assert left(folder) == set()


def test_wrong_sha256(site: Site, folder: Path) -> None:
    set_pin(FILE, CONTENT[::-1])
    message = refusal(FILE, folder)
    assert sha256(CONTENT) in message and sha256(CONTENT[::-1]) in message
    assert left(folder) == set()


def test_wrong_size_is_seen_before_the_download(site: Site, folder: Path) -> None:
    set_pin(FILE, OTHER)
    assert "has 1000003 bytes, pinned are 10" in refusal(FILE, folder)
    assert left(folder) == set()


def test_no_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    message = refusal(FILE, folder)
    assert f"{folder / FILE}.partial: no space left on the disk: it needs 1,000,003 bytes, 10 are free" in message
    assert left(folder) == set()


def test_a_folder_that_cannot_be_written(tmp_path: Path, registry: dict[str, Checkpoint]) -> None:
    (tmp_path / "file").write_text("")
    assert "Not a directory" in refusal(FILE, tmp_path / "file" / "below")


def test_first_use_and_after(site: Site, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned_sha256(FILE) == FIRST_USE
    download(FILE, folder)
    found = pins()[FILE]
    assert (found.sha256, found.size, found.first_use) == (sha256(CONTENT), len(CONTENT), sha256(CONTENT))
    (line,) = capsys.readouterr().err.splitlines()
    assert sha256(CONTENT) in line and "commit rrl/networks/checkpoint_pins.json" in line
    assert planned_sha256(FILE) == FIRST_USE
    download(FILE, folder)
    assert capsys.readouterr().err == "" and len(site.asked) == 1
    set_pin(FILE, CONTENT, sha256="0" * 64)
    assert planned_sha256(FILE) == "0" * 64
    message = refusal(FILE, folder)
    assert sha256(CONTENT) in message and "0" * 64 in message
    assert (folder / FILE).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_checked_and_kept(site: Site, folder: Path) -> None:
    (folder / "kind").mkdir(parents=True)
    (folder / FILE).write_bytes(HTML)
    assert "an HTML page" in refusal(FILE, folder)
    (folder / FILE).write_bytes(OTHER)
    assert download(FILE, folder).read_bytes() == OTHER
    set_pin(FILE, CONTENT)
    message = refusal(FILE, folder)
    assert f"found 10 bytes, sha256 {sha256(OTHER)}" in message
    assert f"pinned are 1000003 bytes, sha256 {sha256(CONTENT)}" in message
    assert (folder / FILE).read_bytes() == OTHER and site.asked == []
    (folder / FILE).unlink()
    (folder / FILE).symlink_to("nothing")
    assert "a link to none" in refusal(FILE, folder)
    assert (folder / FILE).is_symlink() and site.asked == []


def test_a_file_that_appears_during_the_download_is_kept(site: Site, folder: Path) -> None:
    (folder / "kind").mkdir(parents=True)
    site.answers = [Answer(seconds=0.4)]
    threading.Timer(0.2, (folder / FILE).write_bytes, [OTHER]).start()
    assert download(FILE, folder).read_bytes() == OTHER
    assert left(folder) == {FILE}


def test_files_at_another_place(site: Site, folder: Path) -> None:
    (folder / "flat").mkdir(parents=True)
    for file in [FILE, *RUNS]:
        (folder / "flat" / PurePosixPath(file).name).write_bytes(file.encode())
    for file in (FILE, RUNS[0]):
        message = refusal(file, folder)
        subprocess.run(message.partition("run: ")[2], shell=True, check=True)
    for file in [FILE, *RUNS]:
        assert download(file, folder).read_bytes() == file.encode()
    assert site.asked == []


def test_a_file_of_the_same_name_of_another_network_is_no_variant(
    site: Site, registry: dict[str, Checkpoint], folder: Path
) -> None:
    registry["two"] = entry(["other/one.pth.tar"], f"{site.address}/two")
    download("other/one.pth.tar", folder)
    download(FILE, folder)
    assert left(folder) == {FILE, "other/one.pth.tar"}


def test_unknown_names(registry: dict[str, Checkpoint]) -> None:
    with pytest.raises(UserError, match="NAME: found 'onne'; did you mean one\\? must be one of: "):
        list(fetch_all(["onne"], Path("data"), Path("checkpoints")))
    with pytest.raises(UserError, match=f"--file: found 'kind/on.pth.tar'; did you mean {FILE}\\?"):
        download("kind/on.pth.tar", Path("checkpoints"))


def test_command_line(site: Site, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.answers = [Answer(), Answer(body=tar(*map(regular, RUNS)))]
    main(["--file", FILE, "--checkpoints", str(folder)])
    assert capsys.readouterr().out.splitlines() == [str(folder / FILE)]
    fetched = list(fetch_all(["runs", "o*", FILE], Path("data"), folder))
    assert fetched == [(file, folder / file) for file in [*RUNS, FILE]]
    assert set(pins()) == {FILE, *RUNS}


def test_progress(
    site: Site, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rrl.bars, "SECONDS", 0)
    monkeypatch.setattr(rrl.data.downloads, "PIECE", 250_000)
    download(FILE, folder)
    assert re.search(r"^one\.pth\.tar: 1 of 1 MB, [\d.,]+ MB/s, 0.0 s left$", capsys.readouterr().err, re.MULTILINE)
    (folder / FILE).unlink()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    download(FILE, folder)
    assert re.search(r"one\.pth\.tar: 100%.*1\.00M/1\.00M.*B/s\]", terminal.getvalue())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PROCESS = """
import json, sys
from pathlib import Path
import rrl.networks.checkpoints, rrl.stages.download
rrl.networks.checkpoints.PINS = Path(sys.argv[1])
entry = rrl.networks.checkpoints.Checkpoint(**json.loads(sys.argv[2]))
rrl.stages.download.checkpoints = lambda: {"runs": entry}
print(rrl.stages.download.download(sys.argv[3], Path(sys.argv[4])).read_text())
"""


def test_two_processes_download_once(site: Site, registry: dict[str, Checkpoint], folder: Path) -> None:
    site.answers = [Answer(body=tar(*map(regular, RUNS)), seconds=1.5)]
    settings = [str(rrl.networks.checkpoints.PINS), registry["runs"].model_dump_json()]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, *settings, file, str(folder)], stdout=subprocess.PIPE)
        for file in RUNS[:2]
    ]
    assert [process.communicate()[0].decode().strip() for process in processes] == RUNS[:2]
    assert len(site.asked) == 1
    assert left(folder) == set(RUNS) and set(pins()) == set(RUNS[:2])
    assert left(rrl.networks.checkpoints.PINS.parent) == {"pins.json", *(f"{folder.name}/{file}" for file in RUNS)}


def regular(name: str) -> tarfile.TarInfo:
    """A member whose content is the file's name."""
    return member(name, tarfile.REGTYPE)


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = len(name) if kind == tarfile.REGTYPE else 0
    return info


def tar(*members: tarfile.TarInfo, mode: str = "w") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(info.name.encode()))
    return written.getvalue()


def zipped(*members: tuple[str, int]) -> bytes:
    """Of pairs of name and mode; the content of each is its name."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, name)
    return written.getvalue()


INSIDE = ["README", "resnet50", *(f"resnet50/{PurePosixPath(file).name}" for file in RUNS)]
MEMBERS = [regular("README"), member("resnet50", tarfile.DIRTYPE), *map(regular, INSIDE[2:])]


@pytest.mark.parametrize(
    "archive",
    [
        tar(*MEMBERS),
        tar(*MEMBERS, mode="w:gz"),
        zipped(("README", 0), ("resnet50/", 0o040755), *((name, 0o100644) for name in INSIDE[2:])),
    ],
    ids=["tar", "tar.gz", "zip"],
)
def test_archives(site: Site, folder: Path, archive: bytes) -> None:
    site.content = archive
    assert download(RUNS[1], folder) == folder / RUNS[1]
    assert [(folder / file).read_text() for file in RUNS] == INSIDE[2:]
    assert left(folder) == set(RUNS)


def test_a_tar_that_ends_with_a_zip(site: Site, folder: Path) -> None:
    """As networks are zip files, an uncompressed tar of networks looks like a zip file from its end."""
    network = zipped(("data.pkl", 0))
    infos = [tarfile.TarInfo(name) for name in RUNS]
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for info in infos:
            info.size = len(network)
            archive.addfile(info, io.BytesIO(network))
    site.content = written.getvalue()
    assert download(RUNS[0], folder).read_bytes() == network


GOOD = [*map(regular, RUNS)]
WHOLE = tar(*GOOD, mode="w:gz")
ARCHIVES: dict[str, tuple[bytes, str]] = {
    "parent": (tar(*GOOD, regular("../x")), "a path with .., not allowed: '../x'"),
    "absolute": (tar(*GOOD, regular("/tmp/x")), "an absolute path, not allowed: '/tmp/x'"),
    "symlink": (tar(*GOOD, member("x", tarfile.SYMTYPE, "/etc/passwd")), "a symlink, not allowed: 'x'"),
    "hard link": (tar(*GOOD, member("x", tarfile.LNKTYPE, RUNS[0])), "a hard link, not allowed: 'x'"),
    "device": (tar(*GOOD, member("x", tarfile.CHRTYPE)), "a device or the like, not allowed: 'x'"),
    "zip parent": (zipped(("a/../../x", 0)), "a path with .., not allowed: 'a/../../x'"),
    "zip drive": (zipped(("C:\\x", 0)), "an absolute path, not allowed: 'C:\\\\x'"),
    "zip symlink": (zipped(("x", 0o120777)), "a symlink, not allowed: 'x'"),
    "truncated tar": (tar(*GOOD)[:3000], "no tar, tar.gz or zip file, or a damaged one"),
    "tar without an end": (tar(*GOOD)[:3072], "it ends before its end"),
    "truncated tar.gz": (WHOLE[: len(WHOLE) // 2], "no tar, tar.gz or zip file, or a damaged one"),
    "truncated zip": (zipped((RUNS[0], 0))[:-10], "no tar, tar.gz or zip file, or a damaged one"),
    "altered zip": (zipped(*((run, 0) for run in RUNS)).replace(b"run1.pth.tarPK", b"run7.pth.tarPK", 1), "Bad CRC-32"),
    "nothing known": (CONTENT, "no tar, tar.gz or zip file, or a damaged one"),
    "lacking": (tar(regular("a/README"), GOOD[1]), "an archive without checkpoint_run0.pth.tar, checkpoint_run2.pth.tar; its members: a/README, kind/checkpoint_run1.pth.tar"),
    "twice": (tar(*GOOD, regular("again/checkpoint_run1.pth.tar")), "two members of one name"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHIVES)
def test_refused_archives(site: Site, folder: Path, kind: str) -> None:
    site.content, reason = ARCHIVES[kind]
    message = refusal(RUNS[0], folder)
    assert reason in message
    assert f"{RUNS[0]}: not available ({site.address}/runs: " in message
    assert message.endswith("put by hand at " + ", ".join(str(folder / file) for file in RUNS))
    assert left(folder) == set() and pins() == {}
    assert left(folder.parent) == {"pins.json"}


def test_an_archive_with_a_file_that_is_not_the_pinned_one(site: Site, folder: Path) -> None:
    site.content = tar(*GOOD)
    set_pin(RUNS[2], OTHER)
    message = refusal(RUNS[0], folder)
    assert sha256(RUNS[2].encode()) in message and sha256(OTHER) in message
    assert left(folder) == set()


def test_an_archive_brings_only_what_is_missing(site: Site, folder: Path) -> None:
    (folder / "kind").mkdir(parents=True)
    (folder / RUNS[1]).write_bytes(OTHER)
    site.content = tar(*GOOD)
    download(RUNS[0], folder)
    assert (folder / RUNS[1]).read_bytes() == OTHER and left(folder) == set(RUNS)


def test_an_archive_that_there_was_no_space_to_unpack_is_kept(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = tar(*GOOD)
    archive = folder / "runs.archive.partial"

    def usage(_: Path) -> Any:
        whole = archive.exists() and archive.stat().st_size == len(site.content)
        return shutil._ntuple_diskusage(100, 90, 10 if whole else 100_000)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", usage)
        assert f"it needs {sum(map(len, RUNS))} bytes, 10 are free" in refusal(RUNS[0], folder)
    assert left(folder) == {"runs.archive.partial", "runs.archive.partial.json"}
    download(RUNS[0], folder)
    assert site.statuses == [200, 416] and left(folder) == set(RUNS)


ATTACHED = {"Content-Disposition": 'attachment; filename="x.tar"'}
CONFIRM = b'<html><form id="download-form" action="https://drive.google.com/download"><input type="hidden" name="id" value="abc"></form></html>'
PAGE = {"Content-Type": "text/html"}


@pytest.mark.usefixtures("drive")
def test_google_drive(site: Site, folder: Path) -> None:
    site.answers = [Answer(body=CONFIRM, headers=PAGE), Answer(headers=ATTACHED, cut=600_000), Answer(headers=ATTACHED)]
    assert download(FILE, folder).read_bytes() == CONTENT
    assert site.statuses == [200, 200, 206] and left(folder) == {FILE}


DRIVE_REFUSALS: dict[str, tuple[Answer, str]] = {
    "quota": (Answer(body=QUOTA, headers=PAGE), "an HTML page of Google Drive instead of a file: its quota is used up for now"),
    "page": (Answer(body=HTML, headers=PAGE), "an HTML page of Google Drive instead of a file: is it still shared?"),
    "missing": (Answer(404, HTML, PAGE), "an HTML page of Google Drive instead of a file: is it still shared?"),
    "HTML file": (Answer(body=HTML, headers=ATTACHED), "an HTML page instead of a network"),
}  # fmt: skip


@pytest.mark.usefixtures("drive")
@pytest.mark.parametrize("kind", DRIVE_REFUSALS)
def test_google_drive_refuses(site: Site, folder: Path, kind: str) -> None:
    answer, reason = DRIVE_REFUSALS[kind]
    site.answers = [answer]
    message = refusal(FILE, folder)
    assert f"https://drive.google.com/uc?id=abc: {reason}" in message and str(folder / FILE) in message
    assert left(folder) == set()


@pytest.mark.usefixtures("drive")
def test_google_drive_wrong_size_and_no_space(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_pin(FILE, OTHER)
    site.answers = [Answer(headers=ATTACHED)] * 2
    assert "has 1000003 bytes, pinned are 10" in refusal(FILE, folder)
    forget_pins()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    assert "bytes, 10 are free" in refusal(FILE, folder)
    assert left(folder) == set()


def test_the_registry() -> None:
    files = [file for checkpoint in checkpoints().values() for file in checkpoint.files]
    assert len(files) == len(set(files))
    for file in files:
        assert not PurePosixPath(file).is_absolute() and ".." not in PurePosixPath(file).parts
    for checkpoint in checkpoints().values():
        parse_architecture(checkpoint.arch)
        assert checkpoint.archive or len(checkpoint.files) == 1
        assert all(re.match(r"https://|drive:[\w-]+$", source) for source in checkpoint.sources)


def test_the_list_in_the_docs_has_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rrl.networks.checkpoints, "PINS", tmp_path / "pins.json")
    forget_pins()
    assert sha256(OTHER) not in checkpoints_page() and "| sha256 |" not in checkpoints_page()
    (file,) = checkpoints()["swav-resnet50"].files
    set_pin(file, OTHER)
    assert f"| 10 | `{sha256(OTHER)}` |" in checkpoints_page()
