# SPDX-License-Identifier: Apache-2.0
"""What a run ran on, for its document."""

import os
import pathlib
import platform
import re
import shutil

from children import run


def version(program, *arguments):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    return run(path, *arguments).splitlines()[0]


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"))
    return (f"{os.cpu_count()} cores ({model.group(1) if model else platform.machine()}), "
            f"{int(memory.group(1)) / 2**20:.0f} GiB, Linux {platform.release()}")
