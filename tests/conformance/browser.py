"""Headless Chromium, driven through the pipe of its DevTools protocol: messages of JSON that end in a zero byte."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60


def program():
    """Chromium or Chrome under one of its names, or None."""
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One page of it."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="bowline-browser-", ignore_cleanup_errors=True)
        to_read, self.out = os.pipe()
        self.into, to_write = os.pipe()

        def pipes():
            # The program reads from 3 and writes to 4; both may be taken by the other end of the other pipe.
            read, write = os.dup(to_read), os.dup(to_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [
                program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self.profile.name},
            close_fds=False,
            start_new_session=True,
            preexec_fn=pipes,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.session, self.rest = 0, None, b""
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Network", "Log"]:
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """One command and its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        """Goes there."""
        result = self.call("Page.navigate", url=url)
        assert "errorText" not in result, result

    def value(self, expression):
        """The value of an expression in the page."""
        result = self._evaluate(expression)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression):
        """Until the expression is true; its value."""
        deadline = time.monotonic() + PATIENCE
        while True:
            # What it is about may not be there yet.
            result = self._evaluate(expression)
            value = "exceptionDetails" not in result and result["result"].get("value")
            if value:
                return value
            assert time.monotonic() < deadline, f"never true: {expression}\n{self.value('document.body.innerText')}"
            time.sleep(0.05)

    def picture(self, path):
        """A screenshot of it all."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        """Ends it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.out)
        os.close(self.into)
        self.profile.cleanup()

    def _evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)

    def _next(self, deadline):
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.into], [], [], left)[0]
            assert ready, "the browser does not answer"
            piece = os.read(self.into, 1 << 20)
            assert piece, "the browser has ended"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)
