"""Claim: uploading 500 MB holds a gateway's memory flat: its peak is at most 32 MB above that of uploading 5 MB.

A whole platform (``hecaton up``), one gateway. By turns a small file and a large one are uploaded by the Files API, as
fast as they are taken; the kernel tells the peak of the gateway's resident memory during each (``VmHWM``, set back
before it), against what it had at rest right before. Falsified when the largest growth of a large upload is more than
32 MB above the smallest of a small one.

Run: ``python -m benchmarks.bench_upload [--megabytes N] [--rounds N]``; the disk needs each round's large file.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.processes import snapshot
from benchmarks.report import console, verdict

MOST_BYTES = 32 * 1024**2
_SMALL_MEGABYTES = 5
_MB = 1024**2
_BOUNDARY = "hecaton-bench-upload"
_PIECE = 256 * 1024
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload; memory in bytes."""

    size: int
    seconds: float
    rest: int
    peak: int

    @property
    def growth(self) -> int:
        return self.peak - self.rest


def gateway_of(platform: Deployment) -> int:
    """Return the process of the one gateway."""
    found = [process.pid for process in snapshot(platform.pid).values() if process.part == "gateway"]
    assert len(found) == 1, f"one gateway is measured, not {len(found)}"
    return found[0]


def resident(pid: int, field: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def body(size: int) -> Iterator[bytes]:
    """Yield a form with one file of *size* random bytes, no two pieces alike."""
    head = 'Content-Disposition: form-data; name="file"; filename="bench.bin"\r\nContent-Type: application/octet-stream'
    yield f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode()
    for start in range(0, size, _PIECE):
        yield os.urandom(min(_PIECE, size - start))
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def upload(platform: Deployment, gateway: int, size: int) -> Upload:
    """Upload so many bytes."""
    rest = resident(gateway, "VmRSS")
    Path(f"/proc/{gateway}/clear_refs").write_text("5")  # sets the peak back to what there is (proc(5))
    began = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=_SECONDS)
    headers = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    connection.request("POST", "/v1/files", body=body(size), headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    said = answer.read()
    seconds = time.perf_counter() - began
    connection.close()
    assert answer.status == 200 and f'"size_bytes":{size}'.encode() in said, said[:500]
    return Upload(size, seconds, rest, resident(gateway, "VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    found: list[Upload] = []
    with running_stub() as (url, pid), running_platform(url, pid, "--set", "sandbox.driver=none") as platform:
        gateway = gateway_of(platform)
        upload(platform, gateway, _SMALL_MEGABYTES * _MB)  # what the first one loads is no part of any
        for _ in range(asked.rounds):
            for megabytes in (_SMALL_MEGABYTES, asked.megabytes):
                one = upload(platform, gateway, megabytes * _MB)
                found.append(one)
                rest, grown = one.rest / _MB, one.growth / _MB
                console.print(f"{megabytes} MB in {one.seconds:.1f} s: at rest {rest:.0f} MB, peak +{grown:.1f} MB")
    small = min(each.growth for each in found if each.size == _SMALL_MEGABYTES * _MB)
    large = max(each.growth for each in found if each.size == asked.megabytes * _MB)
    console.print(f"largest growth {large / _MB:.1f} MB, with {_SMALL_MEGABYTES} MB {small / _MB:.1f} MB")
    results = {"uploads": [asdict(each) for each in found]}
    return verdict(console, "upload", results, stands=large - small <= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
