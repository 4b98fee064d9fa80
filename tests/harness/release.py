# SPDX-License-Identifier: Apache-2.0
"""The release tasks: a project folder with migrations, and the commands run in it."""

import os
import re
import signal
import subprocess

from .busbar import binary
from .process import clean_environment, spawn

_FAULTS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|[Aa]ssertion .*failed", re.I)


class Done:
    """What a command left behind."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def ok(self):
        assert self.status == 0, f"status {self.status}\n{self.out}\n{self.err}"
        return self

    def failed(self, status=1):
        assert self.status == status, f"status {self.status}\n{self.out}\n{self.err}"
        return self


class Project:
    """A folder from which commands run against ``url``; ``env`` adds variables."""

    def __init__(self, folder, url=None, **env):
        self.folder = str(folder)
        self.env = {"DATABASE_URL": url, **env}

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, path, text):
        target = self.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
        return target

    def migration(self, version, name, up, down=None, head="", folder="priv/repo/migrations"):
        text = head + "-- migrate:up\n" + up + "\n" + (f"-- migrate:down\n{down}\n" if down is not None else "")
        return self.write(f"{folder}/{version}_{name}.sql", text)

    def _environment(self, env):
        return clean_environment(**{**self.env, **env}, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "detect_leaks=1:exitcode=99"))

    def run(self, *arguments, timeout=120, **env):
        done = subprocess.run([binary(), *arguments], cwd=self.folder, env=self._environment(env), capture_output=True, text=True,
                              timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        fault = _FAULTS.search(done.stderr)
        assert not fault, done.stderr[:6000]
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, **env):
        """Runs side by side; ``finish`` waits."""
        return spawn([binary(), *arguments], death_signal=signal.SIGKILL, cwd=self.folder, env=self._environment(env),
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def finish(process, timeout=120):
        out, err = process.communicate(timeout=timeout)
        fault = _FAULTS.search(err)
        assert not fault, err[:6000]
        return Done(process.returncode, out, err)
