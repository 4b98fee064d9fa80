# SPDX-License-Identifier: Apache-2.0
"""Configuration: all faults reported together before any port opens, .env files, flags, --help (spec/service.md §2)."""

import re
import socket
import subprocess

import pytest

from harness.busbar import PASSWORD, binary
from harness.process import clean_environment, free_port
from harness.wait import wait_until

SECRET = "a-very-secret-thing-of-more-than-32-bytes"


def run(*arguments, cwd="/", **environment):
    """Runs busbar to its end."""
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=30, check=False, cwd=cwd,
                          env=clean_environment(ASAN_OPTIONS="detect_leaks=1:exitcode=99", **environment))


def report(done):
    """What it said, white space folded."""
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_help():
    """--help everywhere, on standard output, status 0; it lists the commands and the options."""
    done = run("--help")
    assert done.returncode == 0 and "serve" in done.stdout and "dev" in done.stdout and done.stderr == ""
    done = run("serve", "--help")
    assert done.returncode == 0
    for word in ("DATABASE_URL", "--database-url", "PG_PROXY_PORT", "HTTP_PORT", "AUTH_MODE", "LOG_LEVEL", "5133", "65432"):
        assert word in done.stdout, word
    done = run("dev", "--help")
    assert done.returncode == 0 and "--ephemeral" in done.stdout and "--data" in done.stdout
    assert "0.1.0" in run("--version").stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["serve", "surplus"], ["serve", "--http-port"], []])
def test_wrong_usage(arguments):
    """Named, with a way to help; never status 0."""
    done = run(*arguments)
    assert done.returncode != 0
    assert "help" in report(done)
    for word in arguments[-1:]:
        assert word in report(done)


def test_all_faults_together():
    """One run tells everything that is wrong, status 1."""
    done = run("serve", DATABASE_URL="mysql://x@y/z", PG_PROXY_PORT="abc", HTTP_PORT="70000", AUTH_MODE="maybe", LOG_LEVEL="loud",
               ELECTRIC_USE_IPV6="perhaps", ELECTRIC_RESUMABLE_WAL_WINDOW="-1", BUSBAR_PROXY_AUTH="plain", ELECTRIC_WRITE_TO_PG_MODE="")
    assert done.returncode == 1
    text = report(done)
    for fault in ('DATABASE_URL has invalid URL scheme: "mysql"', "PG_PROXY_PASSWORD not set", 'PG_PROXY_PORT has invalid value: "abc"', 'HTTP_PORT has invalid value: "70000"',
                  'AUTH_MODE has invalid value: "maybe". Must be one of ["secure", "insecure"]', 'LOG_LEVEL has invalid value: "loud". Must be one of ["error", "warning", "info", "debug"]',
                  'ELECTRIC_USE_IPV6 has invalid value: "perhaps"', 'ELECTRIC_RESUMABLE_WAL_WINDOW has invalid value: "-1"', 'BUSBAR_PROXY_AUTH has invalid value: "plain"',
                  "ELECTRIC_WRITE_TO_PG_MODE erroneously set to an empty value"):
        assert fault in text, fault


def test_nothing_set():
    """The required ones are named; secure mode wants an algorithm and a key."""
    done = run("serve")
    text = report(done)
    assert done.returncode == 1
    for fault in ("DATABASE_URL not set", "PG_PROXY_PASSWORD not set", "AUTH_JWT_ALG not set", "AUTH_JWT_KEY not set"):
        assert fault in text, fault


@pytest.mark.parametrize("url, fault", [
    ("postgresql://host/db", "has invalid or missing username"), ("postgresql://user@/db", "missing host"), ("postgresql://u@h/db?sslmode=nope", 'has invalid "sslmode" value: "nope"'),
    ("postgresql://u@h/db?sslmode=verify-full", 'has unsupported "sslmode" value "verify-full". Consider using the DATABASE_REQUIRE_SSL configuration option'),
    ("postgresql://u@h/db?replication=database", 'has unsupported "replication" query option'), ("postgresql://u@h/db?b=1&a=2", 'has unsupported query options: "a", "b"')])
def test_database_url(url, fault):
    """Each fault by its own name, and never the password."""
    done = run("serve", DATABASE_URL=url.replace("u@", f"u:{SECRET}@"), PG_PROXY_PASSWORD="x", AUTH_MODE="insecure")
    assert done.returncode == 1
    assert f"DATABASE_URL {fault}" in report(done)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("environment, fault", [
    ({"AUTH_JWT_ALG": "HS999", "AUTH_JWT_KEY": SECRET}, 'AUTH_JWT_ALG has invalid value: "HS999"'),
    ({"AUTH_JWT_ALG": "HS256", "AUTH_JWT_KEY": "short"}, "AUTH_JWT_KEY has to be at least 32 bytes long for HS256"),
    ({"AUTH_JWT_ALG": "HS512", "AUTH_JWT_KEY": SECRET}, "AUTH_JWT_KEY has to be at least 64 bytes long for HS512"),
    ({"AUTH_JWT_ALG": "RS256", "AUTH_JWT_KEY": SECRET}, "AUTH_JWT_KEY is not a valid key for AUTH_JWT_ALG=RS256"),
    ({"AUTH_MODE": "insecure", "AUTH_JWT_ISS": "me"}, "AUTH_JWT_ISS is not valid in Insecure auth mode. Did you forget to set AUTH_MODE=secure?")])
def test_auth(environment, fault):
    """The sync service's options are checked from the first day."""
    done = run("serve", DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x", **environment)
    assert done.returncode == 1 and fault in report(done)
    assert SECRET not in done.stdout + done.stderr


def test_no_port_opens_before_the_configuration_is_valid(cluster):
    """A fault in the last option: the ports of the others never listened, PostgreSQL was never asked."""
    http, proxy = free_port(), free_port()
    # Were a port tried first, a taken one would be the fault reported.
    with socket.create_server(("127.0.0.1", http)), socket.create_server(("127.0.0.1", proxy)):
        done = run("serve", DATABASE_URL=cluster.url("postgres"), PG_PROXY_PASSWORD="x", HTTP_PORT=http, PG_PROXY_PORT=proxy, BUSBAR_LISTEN="localhost",
                   AUTH_MODE="insecure", LOG_LEVEL="loud")
        assert done.returncode == 1
        assert "LOG_LEVEL" in report(done) and "in use" not in report(done)


@pytest.mark.parametrize("taken", ["http", "proxy"])
def test_port_taken(cluster, taken):
    """Said with the port, status 1, at once."""
    ports = {"http": free_port(), "proxy": free_port()}
    with socket.create_server(("127.0.0.1", ports[taken])):
        done = run("serve", DATABASE_URL=cluster.url("postgres"), PG_PROXY_PASSWORD="x", HTTP_PORT=ports["http"], PG_PROXY_PORT=ports["proxy"], BUSBAR_LISTEN="localhost",
                   AUTH_MODE="insecure")
    assert done.returncode == 1 and str(ports[taken]) in report(done) and "in use" in report(done)


def test_same_port_twice():
    """The proxy and HTTP cannot share one."""
    done = run("serve", DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x", AUTH_MODE="insecure", HTTP_PORT="7000", PG_PROXY_PORT="7000")
    assert done.returncode == 1 and "7000" in report(done)


def test_dotenv(make_busbar, cluster, database, tmp_path):
    """`.env` of the working folder is read; quotes, comments and export are understood; it does not win over the environment."""
    http, proxy = free_port(), free_port()
    (tmp_path / ".env").write_text(
        f"# a comment\nexport DATABASE_URL=\"{cluster.url(database)}\"\n\nPG_PROXY_PASSWORD='{PASSWORD}'  # trailing\n"
        f"PG_PROXY_PORT={proxy}\nHTTP_PORT=1\nAUTH_MODE=insecure\nLOG_LEVEL=debug\n")
    busbar = make_busbar(None, wait=False, dbname=database, cwd=tmp_path, PG_PROXY_PASSWORD=None, PG_PROXY_PORT=None, AUTH_MODE=None, LOG_LEVEL=None, HTTP_PORT=http)
    busbar.port, busbar.http_port = proxy, http
    busbar.start()
    with busbar.wire() as wire:
        assert wire.value("SELECT current_database()") == database


def test_dotenv_faults_name_the_file(tmp_path):
    """A line that cannot be read is said with its number, and the rest of the file counts."""
    (tmp_path / ".env").write_text("AUTH_MODE=insecure\nthis is no assignment\nLOG_LEVEL=error\n")
    done = run("show-config", cwd=tmp_path, DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x")
    assert ".env" in done.stderr and "line 2" in done.stderr
    assert re.search(r"LOG_LEVEL\W+error", done.stdout), done.stdout


def test_secret_files(tmp_path):
    """NAME_FILE in the environment or in .env; where it came from is told, what is in it is not."""
    (tmp_path / "password").write_text(SECRET + "\n")
    (tmp_path / ".env").write_text("DATABASE_URL_FILE=url\n")
    (tmp_path / "url").write_text(f"postgresql://u:{SECRET}@localhost/db")
    done = run("show-config", cwd=tmp_path, PG_PROXY_PASSWORD_FILE=tmp_path / "password", AUTH_MODE="insecure")
    assert done.returncode == 0, done.stderr
    assert re.search(rf'PG_PROXY_PASSWORD +"\*+"  \(environment, file "{tmp_path}/password"\)', done.stdout), done.stdout
    assert re.search(r'DATABASE_URL +"postgresql://u:\*+@localhost:5432/db"  \(\.env, file "url"\)', done.stdout), done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_secret_file_faults(tmp_path):
    """Both ways at once, and a file that is not there: said with the path."""
    done = run("serve", DATABASE_URL="postgresql://u@localhost/db", DATABASE_URL_FILE="/none/url", PG_PROXY_PASSWORD_FILE="/none/password", AUTH_MODE="insecure")
    assert done.returncode == 1
    assert "DATABASE_URL is set twice: also by DATABASE_URL_FILE" in report(done)
    assert "PG_PROXY_PASSWORD cannot be had: cannot read /none/password: No such file or directory Given by PG_PROXY_PASSWORD_FILE." in report(done)


def test_show_config_hides_secrets():
    """What is in force, secrets masked."""
    done = run("show-config", DATABASE_URL=f"postgresql://u:{SECRET}@localhost/db", PG_PROXY_PASSWORD=SECRET, AUTH_MODE="insecure")
    assert done.returncode == 0, done.stderr
    assert "DATABASE_URL" in done.stdout and "localhost" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_wal_level_must_be_logical(make_busbar):
    """A prerequisite that waiting does not mend: said, with the statement that mends it."""
    from harness.postgres import Postgres
    cluster = Postgres(settings=["wal_level = replica"])
    try:
        cluster.start()
        busbar = make_busbar(cluster.url("postgres"), wait=False).spawn()
        busbar.wait_log("(?i)wal_level")
        wait_until(lambda: busbar.process.poll() is not None or busbar.status()[0] == 503, "an end, or 503")
        if busbar.process.poll() is not None:
            assert busbar.process.returncode == 1
            busbar.killed = True  # judged here
    finally:
        cluster.destroy()


def test_database_of_electric_is_refused(make_busbar, cluster, database):
    """A database set up by Electric 0.12 itself: recognised, refused with a clear message, nothing installed."""
    with cluster.connect(database) as conn:
        conn.execute("CREATE SCHEMA electric; CREATE TABLE electric.ddl_commands (id int8); CREATE TABLE electric.electrified (id int8)")
        busbar = make_busbar(cluster.url(database), wait=False).spawn()
        busbar.wait_log("Electric")
        wait_until(lambda: busbar.process.poll() is not None or busbar.status()[0] == 503, "an end, or 503")
        if busbar.process.poll() is not None:
            busbar.killed = True  # judged here
            assert busbar.process.returncode == 1
        assert conn.execute("SELECT to_regnamespace('busbar')").fetchone()[0] is None
