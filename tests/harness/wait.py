# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition. Tests never sleep for a guessed time: they poll what they wait for, with a limit."""

import time


def wait_until(condition, what, timeout=20.0, interval=0.01):
    """Polls ``condition`` until it is true and returns its value; fails naming ``what`` when the limit is reached.

    An exception of ``condition`` counts as "not yet"; the last one is shown on failure.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except Exception as error:  # noqa: BLE001  "connection refused" and kin are why we wait
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(interval)
