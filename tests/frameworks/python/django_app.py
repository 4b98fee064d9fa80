# SPDX-License-Identifier: Apache-2.0
"""Django: an app `shop` in the current folder, migrated with `migrate`; with `tell` the session is told each migration's name before."""
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.migration import Migration
from django.db.utils import DatabaseError

FILES = {
    "0001_items": "dependencies = []\n    operations = [migrations.CreateModel('Item', [('id', models.TextField(primary_key=True)),"
                  " ('value', models.TextField(null=True))], options={'db_table': 'items'}),\n"
                  "        migrations.RunSQL('ALTER TABLE items ENABLE ELECTRIC', migrations.RunSQL.noop)]",
    "0002_amount": "dependencies = [('shop', '0001_items')]\n    operations = [migrations.AddField('Item', 'amount', models.IntegerField(null=True))]",
    "0003_index": "dependencies = [('shop', '0002_amount')]\n    operations = [migrations.AddIndex('Item', models.Index(fields=['amount'], name='items_amount'))]",
}

os.makedirs("shop/migrations")
for name in ("shop/__init__.py", "shop/migrations/__init__.py"):
    open(name, "w").close()
for name, text in FILES.items():
    with open(f"shop/migrations/{name}.py", "w") as out:
        out.write(f"from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n    {text}\n")

sys.path.insert(0, os.getcwd())
env = os.environ
settings.configure(INSTALLED_APPS=["shop"], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": env["PGDATABASE"], "HOST": env["PGHOST"], "PORT": env["PGPORT"],
    "USER": env["PGUSER"], "PASSWORD": env["PGPASSWORD"]}})
django.setup()
if sys.argv[1] == "tell":
    apply = Migration.apply

    def announce(self, state, editor, collect_sql=False):
        if not collect_sql:
            editor.execute("SELECT set_config('busbar.migration_version', %s, true)", [self.name])
        return apply(self, state, editor, collect_sql)

    Migration.apply = announce
call_command("migrate", verbosity=0)
call_command("migrate", "shop", "0002", verbosity=0)
try:
    call_command("migrate", "shop", "0001", verbosity=0)
except DatabaseError as error:
    print(error)
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
call_command("migrate", verbosity=0)  # the index once more
