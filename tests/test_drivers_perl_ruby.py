# SPDX-License-Identifier: Apache-2.0
"""Perl's DBD::Pg and Ruby's pg; their programs are in drivers/."""

import os

import pytest

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

LANGUAGES = {"perl": ("/usr/bin/perl", "perl.pl"), "ruby": ("/usr/bin/ruby", "ruby.rb")}
COMMON = ["queries", "transactions", "large", "copy", "cancel", "notify"]


def run(language, endpoint, scenario):
    interpreter, program = LANGUAGES[language]
    drivers.silent(drivers.run(endpoint, interpreter, os.path.join(drivers.FOLDER, program), scenario))


@pytest.mark.transparent
@pytest.mark.parametrize("scenario", COMMON)
def test_perl(endpoint, scenario):
    run("perl", endpoint, scenario)


@pytest.mark.transparent
@pytest.mark.parametrize("scenario", [*COMMON, "pipeline"])
def test_ruby(endpoint, scenario):
    run("ruby", endpoint, scenario)


@pytest.mark.parametrize("language", LANGUAGES)
def test_migrations(busbar, ledger, language):
    run(language, busbar, "migrate")
    drivers.migrated(busbar, ledger)


@pytest.mark.parametrize("language", LANGUAGES)
def test_refused(busbar, truths, language):
    run(language, busbar, "refuse")
    drivers.refused(busbar, truths)
