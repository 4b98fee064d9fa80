# SPDX-License-Identifier: Apache-2.0
"""The capture matrix: rows.py says what becomes of every kind of schema change, document.py makes docs/capture.md of it,
test_capture.py holds the database to it."""
