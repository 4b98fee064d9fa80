# SPDX-License-Identifier: Apache-2.0
"""Alembic: revisions in the current folder; transaction_per_migration, as docs/tools.md says, unless told `batch`."""
import os
import sys

import sqlalchemy
from alembic import command
from alembic.config import Config

ENV = """
from alembic import context
from sqlalchemy import create_engine
with create_engine(context.config.get_main_option('sqlalchemy.url')).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=%s, version_table=%r)
    with context.begin_transaction():
        context.run_migrations()
"""
UP = {
    "ae01": "op.create_table('items', sa.Column('id', sa.Text, primary_key=True), sa.Column('value', sa.Text))\n"
            "    op.execute('ALTER TABLE items ENABLE ELECTRIC')",
    "1975ea83b712": "op.add_column('items', sa.Column('amount', sa.Integer))",
    "b103": "op.create_index('items_amount', 'items', ['amount'])",
}
DOWN = {"ae01": "op.drop_table('items')", "1975ea83b712": "op.drop_column('items', 'amount')", "b103": "op.drop_index('items_amount')"}

how = sys.argv[1]
os.makedirs("alembic/versions")
with open("alembic/env.py", "w") as out:
    out.write(ENV % (how != "batch", "history" if how == "renamed" else "alembic_version"))
before = None
for revision, text in UP.items():
    with open(f"alembic/versions/{revision}.py", "w") as out:
        out.write(f"import sqlalchemy as sa\nfrom alembic import op\nrevision = {revision!r}\ndown_revision = {before!r}\n\n\n"
                  f"def upgrade():\n    {text}\n\n\ndef downgrade():\n    {DOWN[revision]}\n")
    before = revision
config = Config()
config.set_main_option("script_location", "alembic")
config.set_main_option("sqlalchemy.url", "postgresql+psycopg2://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ))
command.upgrade(config, "head")
command.downgrade(config, "-1")
try:
    command.downgrade(config, "-1")
except sqlalchemy.exc.DBAPIError as error:
    print(error)
command.upgrade(config, "head")
