# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's JDBC driver: everything by the extended protocol, BEGIN in the group of the first statement; see drivers/java."""

import os
import subprocess

import pytest

from harness.process import clean_environment

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

JAR = "/usr/share/java/postgresql.jar"


@pytest.fixture(scope="session")
def java(tmp_path_factory):
    """Compiles the program; runs a scenario of it."""
    classes = tmp_path_factory.mktemp("jdbc")
    source = os.path.join(drivers.FOLDER, "java", "Jdbc.java")
    done = subprocess.run(["javac", "-cp", JAR, "-d", str(classes), source], capture_output=True, text=True, timeout=120, check=False, env=clean_environment())
    assert done.returncode == 0, done.stderr

    def run(endpoint, scenario):
        drivers.silent(drivers.run(endpoint, "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{classes}:{JAR}", "Jdbc", scenario))

    return run


@pytest.mark.transparent
@pytest.mark.parametrize("scenario", ["queries", "errors", "large", "copy", "cancel", "notify"])
def test_jdbc(java, endpoint, scenario):
    java(endpoint, scenario)


def test_migrations(java, busbar, ledger):
    java(busbar, "migrate")
    drivers.migrated(busbar, ledger)


def test_a_group_is_a_migration(java, busbar, ledger):
    """Two groups of statements that went well, one that was refused."""
    java(busbar, "group")
    assert ledger.columns("held") == ["id", "value", "amount", "one", "two"] and len(ledger.versions) == 2
    ledger.consistent()


def test_refused(java, busbar, truths):
    java(busbar, "refuse")
    drivers.refused(busbar, truths)
