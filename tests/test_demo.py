"""The demo, as a newcomer runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

DEMO = Path(__file__).parent.parent / "examples" / "claims" / "demo.py"


def launch(**environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(DEMO)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_ends_by_itself_with_0_after_an_answer_equalled_the_bundles_own_score() -> None:
    demo = launch(DEMO_SECONDS="12")
    output, errors = demo.communicate(timeout=120)
    assert demo.returncode == 0, errors
    assert re.search(r"curl -X POST localhost:\d+/predict -d '\{\"amount\": 5000\}'", output)
    assert "/docs" in output


def test_with_its_port_busy_it_takes_the_next_one_prints_it_and_the_curl_line_works() -> None:
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            busy.bind(("127.0.0.1", 8000))
            busy.listen()
        except OSError:
            pass  # someone else keeps it busy
        demo = launch()
        assert demo.stdout is not None
        port = None
        said = []
        for line in demo.stdout:
            said.append(line)
            if match := re.search(r"curl -X POST localhost:(\d+)/predict -d '(.*)'", line):
                port, body = int(match[1]), match[2]
                break
        assert port is not None, "".join(said)
        assert port != 8000
        assert f"port 8000 is busy: using {port}" in "".join(said)
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # what `curl -d` sends
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body.encode(), form)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
        assert demo.returncode == 0
        time.sleep(0.1)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "Ctrl-C left the service running"
