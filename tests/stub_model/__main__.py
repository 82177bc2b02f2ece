"""``python -m tests.stub_model --port N``: the stub as a process, for benchmarks and live servers.

Prints its address as the first line, so ``--port 0`` works too.
"""

from __future__ import annotations

import argparse

from tests.stub_model.app import StubModel
from tests.stub_model.serving import address, listen, make_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stub_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--keep", type=int, default=1000, help="requests to remember; 0 is fastest")
    options = parser.parse_args()
    listener = listen(options.host, options.port)
    print(address(listener), flush=True)
    make_server(StubModel(options.keep)).run([listener])


if __name__ == "__main__":
    main()
