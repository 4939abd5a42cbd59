"""Downloads over HTTP continue after a broken transfer instead of beginning again."""

from __future__ import annotations

import http.client
import io
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable

__all__ = ["DownloadError", "download"]

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without any byte
# Not OSError as a whole: a full disk is no broken connection.
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)


class DownloadError(Exception):
    """Failure of a transfer; its text is a phrase that fits into a sentence."""


def download(
    url: str, file: io.BufferedIOBase, size: int, on_bytes: Callable[[int], None] = lambda count: None
) -> None:
    """Append to a file what is missing of it, over as many connections as it takes while each brings it forward.

    Whether the content is the right one is for the caller to check: what a file held before may be of another
    content, and so may what a server sends.

    Args:
        url: http or https.
        file: open for reading and appending; what it holds is taken for the beginning.
        size: bytes that the whole has.
        on_bytes: called with the number of bytes received, after every chunk.

    Raises:
        DownloadError: no connection, an error of the server, a file of another size there, or a connection that
            closed early without bringing the file forward. What came so far stays in the file.
    """
    if file.seek(0, 2) > size:
        file.truncate(0)
    start, most, problem = file.seek(0, 2), -1, ""
    while start < size:
        if start <= most:
            raise DownloadError(problem)
        most = start
        try:
            _receive(url, file, start, size, on_bytes)
            problem = f"the connection closed after {file.seek(0, 2)} of {size} bytes"
        except urllib.error.HTTPError as error:
            problem = f"HTTP status {error.code} {error.reason}"
            error.close()
        except _BROKEN as error:
            reason = getattr(error, "reason", error)
            problem = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        start = file.seek(0, 2)


def _receive(url: str, file: io.BufferedIOBase, start: int, size: int, on_bytes: Callable[[int], None]) -> None:
    """Receive what one connection gives, from `start` if the server can do that, else from the beginning."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        if response.status == 206:
            where = response.headers.get("Content-Range", "")
            if not (where.startswith(f"bytes {start}-") and where.endswith((f"/{size}", "/*"))):
                raise DownloadError(f"the server continues with {where or 'nothing'}, not at {start} of {size}")
        else:
            offered = response.headers.get("Content-Length", str(size))
            if offered != str(size):
                raise DownloadError(f"there are {offered} bytes instead of {size}")
            file.truncate(0)
            start = 0
        while chunk := response.read(_CHUNK):
            start += len(chunk)
            if start > size:
                raise DownloadError(f"there are more than the expected {size} bytes")
            file.write(chunk)
            on_bytes(len(chunk))
