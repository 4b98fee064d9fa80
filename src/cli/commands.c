/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

static const struct command commands[] = {
    {.name = "serve",
     .summary = "Run the service: the migrations proxy and HTTP in front of your PostgreSQL.",
     .about = "Runs the service in front of the PostgreSQL that DATABASE_URL names, until SIGINT or SIGTERM. "
              "A database "
              "that is not there is waited for.",
     .options = FOR_SERVE,
     .run = serve_command},
    {.name = "dev",
     .summary = "The same for development, with a PostgreSQL of its own when DATABASE_URL is not set.",
     .about =
         "Runs the service for development. Without DATABASE_URL it makes a private PostgreSQL cluster from "
         "the "
         "installed programs, starts it, and stops it at the end; the data is kept. Prints where to connect. "
         "Listens on the loopback addresses only and does not check tokens, unless told otherwise.",
     .options = FOR_DEV,
     .run = dev_command},
    {.name = "migrate",
     .summary = "Run pending migrations of plain SQL.",
     .about = "Runs the migrations in priv/repo/migrations that have not run yet, each in a transaction "
              "unless its "
              "head says otherwise. What has run stands in Ecto's table: Busbar and mix ecto.migrate can "
              "take turns "
              "(docs/migrate.md).",
     .options = FOR_MIGRATE,
     .run = migrate_command},
    {.name = "rollback",
     .summary = "Undo migrations, newest first.",
     .about = "Runs the down sections of migrations. Needs --repo and a target: --step, --to, --to-exclusive "
              "or --all.",
     .options = FOR_ROLLBACK,
     .run = rollback_command},
    {.name = "status",
     .summary = "List migrations: up, down, edited, without file.",
     .about = "Lists the migrations of files and database. Reads only. With --exit-code, 3 means that "
              "something is to "
              "be done.",
     .options = FOR_STATUS,
     .run = status_command},
    {.name = "plan",
     .summary = "Run pending migrations and roll back: what would happen.",
     .about = "Really runs the pending migrations in one transaction, which is rolled back, and says of each "
              "statement "
              "how long it took, what it locked, rewrote and scanned.",
     .options = FOR_PLAN,
     .run = plan_command},
    {.name = "seed",
     .summary = "Run priv/repo/seeds.sql.",
     .about = "Runs a file of SQL in a transaction.",
     .options = FOR_SEED,
     .run = seed_command},
    {.name = "new",
     .summary = "Make the file of a new migration.",
     .about = "Makes an empty migration with a version of now, and prints its path.",
     .arguments = "NAME",
     .options = FOR_NEW,
     .run = new_command},
    {.name = "dump",
     .summary = "Write the structure of the database to priv/repo/structure.sql.",
     .about = "Writes the structure by pg_dump, with the versions that have run.",
     .options = FOR_DUMP,
     .run = dump_command},
    {.name = "load",
     .summary = "Load priv/repo/structure.sql into an empty database.",
     .about = "Loads by psql what busbar dump has written, in one transaction.",
     .options = FOR_LOAD,
     .run = load_command},
    {.name = "repair",
     .summary = "See to a migration that stopped half-way or was edited.",
     .about = "Says which statement of a migration failed and what can be done; --action does it.",
     .arguments = "VERSION",
     .options = FOR_REPAIR,
     .run = repair_command},
    {.name = "check",
     .summary = "Look at configuration and database: what is wrong, and what mends it.",
     .about =
         "Prints one line for each thing that busbar serve needs: ok, note (works, but less than it could) "
         "or fault, "
         "with the statement or option that mends it. Among them: tables that were changed beside the proxy. "
         "Exit status 1 when there is a fault.",
     .options = FOR_CHECK,
     .shows_faults = true,
     .run = check_command},
    {.name = "cleanup",
     .summary = "Remove what keeps costing the database when the service is not to come back.",
     .about =
         "Drops the replication slot, for which PostgreSQL keeps WAL without end, and the publication, and "
         "says what it did. "
         "Refuses while a busbar serves the database. The schemas busbar and electric stay, with the history "
         "of "
         "migrations; a "
         "later busbar serve makes the rest again, and clients then load all anew.",
     .options = FOR_CLEANUP,
     .run = cleanup_command},
    {.name = "show-config",
     .summary = "Print the configuration of serve: each value and where it comes from.",
     .about = "Prints the value in force of each option of busbar serve and where it comes from, secrets "
              "masked, and "
              "the faults if there are any (exit status 1).",
     .options = FOR_SHOW_CONFIG,
     .shows_faults = true,
     .run = show_config_command},
    {.name = "token",
     .summary = "Make a token for a sync client, for development.",
     .about =
         "Prints a token that the service accepts under the same configuration: signed with AUTH_JWT_KEY for "
         "the HS algorithms, with the private key of --key for RS and ES, unsigned when AUTH_MODE is "
         "insecure. "
         "Issuer, audience and namespace are filled in.",
     .options = FOR_TOKEN,
     .run = token_command},
    {.name = "help",
     .summary = "Explain a command.",
     .about = "Explains a command, like busbar COMMAND --help.",
     .arguments = "[COMMAND]",
     .run = help_command},
    {.name = NULL}};

const struct command busbar_commands = {
    .name = "busbar",
    .about =
        "Busbar stands between migration tools, PostgreSQL and client apps: a PostgreSQL proxy that "
        "captures, "
        "proves and versions the migrations of synced tables, and the service that hands them to clients.",
    .children = commands};
