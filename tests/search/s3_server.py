"""A real S3 server on loopback (moto's), in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from ray_head import free_ports

SERVER = "from moto.server import main; import sys; main(sys.argv[1:])"


@contextmanager
def s3(bucket: str) -> Iterator[dict[str, str]]:
    """Gives the environment in which `s3://BUCKET` is that server's."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", SERVER, "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 60
            while True:
                assert process.poll() is None, "the S3 server ended"
                assert time.monotonic() < until, "no S3 server after 60 s"
                try:
                    request = urllib.request.Request(f"{url}/{bucket}", method="PUT")
                    urllib.request.urlopen(request, timeout=5)
                    break
                except OSError:
                    time.sleep(0.2)
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "of-the-test",
                "AWS_SECRET_ACCESS_KEY": "of-the-test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            process.terminate()
