"""Where files come from: a server, with resume and retries, or Google Drive."""

import email.utils
import re
import time
from pathlib import Path

import requests

from rrl.bars import Bar, write_line
from rrl.data.archives import Refused, reason
from rrl.store.files import check_space, read_json, write_json

ATTEMPTS = 6  # in a row, of which at most the first got further than any before
FIRST_WAIT = 1.0  # seconds before the second attempt; doubled for each one after it
LONGEST_WAIT = 60.0  # seconds; a server that asks for more is given up
TIMEOUT = (20, 60)  # seconds to connect, and between two pieces of the content
PIECE = 1 << 16  # bytes; at most this much is lost when a connection breaks off


class Again(Exception):
    """Why an attempt failed that is worth repeating. wait: seconds that the server asks for, if it does."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def _state(partial: Path) -> Path:
    """What says which version of which URL a partial file is the beginning of."""
    return partial.with_name(partial.name + ".json")


def _name(partial: Path) -> str:
    return partial.name.removesuffix(".partial")


def discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _state(partial).unlink(missing_ok=True)


def from_server(address: str, partial: Path, size: int | None) -> None:
    """Download to `partial`, going on where it ends. size: bytes that the file must have, if known."""
    furthest = failed = 0
    while True:
        try:
            return _attempt(address, partial, size)
        except Again as error:
            reached = partial.stat().st_size if partial.exists() else 0
            failed = 1 if reached > furthest else failed + 1
            furthest = max(furthest, reached)
            wait = min(FIRST_WAIT * 2 ** (failed - 1), LONGEST_WAIT) if error.wait is None else error.wait
            if failed == ATTEMPTS:
                raise Refused(f"{error}, after {ATTEMPTS} attempts") from None
            if wait > LONGEST_WAIT:
                raise Refused(f"{error}, asks to wait for {wait:.0f} s") from None
            write_line(f"{partial}: {error}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _attempt(address: str, partial: Path, size: int | None) -> None:
    offset, version = _resumable(address, partial)
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _receive(response, address, partial, size)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
        raise Refused(reason(error)) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise Again(reason(error)) from None
    except requests.RequestException as error:
        raise Refused(reason(error)) from None


def _resumable(address: str, partial: Path) -> tuple[int, str]:
    """Bytes that are there already, and which version they are of: its ETag or time; (0, "") to begin anew."""
    if not partial.exists() or not _state(partial).exists():
        return 0, ""
    state = read_json(_state(partial))
    return (partial.stat().st_size, state["version"]) if state["url"] == address and state["version"] else (0, "")


def _version(response: requests.Response) -> str:
    """The ETag, or the time of the last change; "" if the server gives none that it will accept in If-Range."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag


def _receive(response: requests.Response, address: str, partial: Path, size: int | None) -> None:
    """Write the content of an answer to `partial`. Raises Refused or Again unless it is complete."""
    offset, version = _resumable(address, partial)
    status = response.status_code
    if status in (206, 416):
        begin, total = _range(response, offset)
        if begin != offset or _version(response) not in ("", version):
            discard(partial)
            raise Again("another version of the file than before")
        if status == 416:
            return  # nothing is missing
    elif status == 200:
        offset = 0
        total = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
    elif status in (408, 429) or status >= 500:
        raise Again(f"HTTP status {status}", _retry_after(response))
    else:
        raise Refused(f"HTTP status {status}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Refused("an HTML page instead of a file")
    if size is not None and total not in (None, size):
        raise Refused(f"has {total} bytes, pinned are {size}")
    if size is None and total is None and response.headers.get("Transfer-Encoding") != "chunked":
        raise Refused("announces no size, so that an incomplete file would not be recognised")
    check_space(partial, (total or size or 0) - offset)
    with open(partial, "ab" if offset else "wb") as content:
        if not offset:
            write_json(_state(partial), {"url": address, "version": _version(response)})
        with Bar(_name(partial), "B", total or size, done=offset) as bar:
            for piece in response.iter_content(PIECE):
                content.write(piece)
                offset += len(piece)
                bar.add(len(piece))
    if total not in (None, offset):
        raise Again(f"{offset} of {total} bytes")


def _range(response: requests.Response, offset: int) -> tuple[int, int | None]:
    """Where the content of an answer begins, and the size of the file.

    416 (nothing from `offset` on) begins at the end of the file.
    """
    header = response.headers.get("Content-Range", "")
    if response.status_code == 416:
        match = re.fullmatch(r"bytes \*/(\d+)", header)
        return (int(match[1]), int(match[1])) if match else (-1, None)
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", header)
    return (int(match[1]), int(match[2])) if match else (-1, None)


def _retry_after(response: requests.Response) -> float | None:
    """Seconds; the header gives seconds or a time."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    time_tuple = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(time_tuple) - time.time()) if time_tuple else None


def from_drive(identifier: str, partial: Path, size: int | None) -> None:
    """Download a file of Google Drive to `partial`; gdown goes on where a connection broke off."""
    import gdown  # only where it is needed: it is slow to import

    begun = False

    def discard_all() -> None:
        discard(partial)
        for own in partial.parent.glob(f"{partial.name}????????.part"):  # gdown's names
            own.unlink()

    def report(done: int, total: int | None) -> None:
        nonlocal begun
        if not begun:
            begun = True
            if size is not None and total not in (None, size):
                raise Refused(f"has {total} bytes, pinned are {size}")
            check_space(partial, (total or size or 0) - done)
        bar.total = total
        bar.add(done - bar.done)

    discard_all()
    try:
        with Bar(_name(partial), "B", size) as bar:
            gdown.download(
                id=identifier,
                output=str(partial),
                quiet=True,
                use_cookies=False,
                retries=ATTEMPTS - 1,
                timeout=TIMEOUT,
                progress=report,
            )
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        discard_all()
        text = reason(error).partition(". The received bytes are kept")[0]  # they are not
        if isinstance(error, gdown.exceptions.FileURLRetrievalError):
            quota = "Too many users" in text or "quota" in text.lower()
            text = "its quota is used up for now; try again in 24 hours" if quota else "is it still shared?"
            text = f"an HTML page of Google Drive instead of a file: {text}"
        raise Refused(text) from None
    except BaseException:
        discard_all()
        raise
