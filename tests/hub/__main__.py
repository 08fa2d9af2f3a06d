"""`python -m tests.hub [port]` runs the stand-in alone, until it is interrupted or terminated."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.hub.cloud import Cloud
from tests.hub.server import serving

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with tempfile.TemporaryDirectory(prefix="luthier-hub-") as folder:
    cloud = Cloud(Path(folder))
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with serving(cloud, port) as url, contextlib.suppress(KeyboardInterrupt):
        print(f"export QAI_HUB_API_URL={url} QAI_HUB_API_TOKEN={cloud.token}", flush=True)
        threading.Event().wait()
