"""Record that the lock is held, stay for a moment, record that it is not.  A program."""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.history import Recorder

file, process = sys.argv[1:]
name, token = os.environ["COORDKIT_LOCK"], int(os.environ["COORDKIT_FENCING_TOKEN"])
lease = Path(os.environ["COORDKIT_LEASE_FILE"])
deadline = struct.unpack("=Q", lease.read_bytes())[0] / 1e9
with Recorder(file, process) as recorder:
    recorder.granted(name, "command", token, deadline)
    time.sleep(0.01)
    recorder.released(name, "command", token)
