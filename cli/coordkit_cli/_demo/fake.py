"""
A server for where there is no Redis: fakeredis' TCP server.  A program.

It says its port on its standard output, and ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
from threading import Thread

from fakeredis import FakeRedis, TcpFakeServer

from coordkit._io.scripts import SCRIPTS


def main() -> None:
    """Serve until the demo is gone."""
    server = TcpFakeServer(("127.0.0.1", 0))  # the port is the system's choice
    # It closes the connection after every error, NOSCRIPT too, so that a client
    # could not send the script instead: it must know them all from the start.
    client = FakeRedis(server=server.fake_server)
    for script in SCRIPTS.values():
        client.script_load(script.source)
    Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"event": "ready", "port": server.server_address[1]}), flush=True)  # noqa: T201 - its port is asked for there
    sys.stdin.read()
    os._exit(0)  # its threads would keep it


if __name__ == "__main__":
    main()
