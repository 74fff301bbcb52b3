"""The statements that make a PostgreSQL role which can read one schema and nothing more."""

from __future__ import annotations

_OUT_OF_REACH = (
    "pg_terminate_backend(integer, bigint)",
    "pg_cancel_backend(integer)",
    "pg_logical_emit_message(boolean, text, text)",
    "pg_logical_emit_message(boolean, text, bytea)",
    "pg_notify(text, text)",
    "pg_advisory_lock(bigint)",
    "pg_advisory_lock(integer, integer)",
    "pg_advisory_lock_shared(bigint)",
    "pg_advisory_lock_shared(integer, integer)",
    "pg_advisory_xact_lock(bigint)",
    "pg_advisory_xact_lock(integer, integer)",
    "pg_try_advisory_lock(bigint)",
    "pg_try_advisory_lock(integer, integer)",
    "pg_sleep(double precision)",
    "pg_sleep_for(interval)",
    "pg_sleep_until(timestamp with time zone)",
    "lo_creat(integer)",
    "lo_create(oid)",
    "lo_from_bytea(oid, bytea)",
    "lo_unlink(oid)",
    "lo_import(text)",
    "lo_import(text, oid)",
    "lo_export(oid, text)",
    "set_config(text, text, boolean)",
    "query_to_xml(text, boolean, boolean, text)",
    "database_to_xml(boolean, boolean, text)",
)
"""Functions with effects beyond their transaction, or that run text as SQL, which every role may call as PostgreSQL comes."""


def reader_role_sql(role: str, database: str, schema: str = "public") -> str:
    """Statements for psql, run by an administrator in `database`, that make `role`; its password is set apart, by \\password."""
    who, where, what = (_quoted(name) for name in (role, database, schema))
    lines = [
        f"CREATE ROLE {who} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20;",
        f"ALTER ROLE {who} SET default_transaction_read_only = on;",
        f"ALTER ROLE {who} SET statement_timeout = '60s';",
        f"ALTER ROLE {who} SET temp_file_limit = '256MB';",
        f"REVOKE CREATE, TEMPORARY ON DATABASE {where} FROM PUBLIC;",
        f"REVOKE CREATE ON SCHEMA {what} FROM PUBLIC;",
        f"GRANT CONNECT ON DATABASE {where} TO {who};",
        f"GRANT USAGE ON SCHEMA {what} TO {who};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {what} TO {who};",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {what} GRANT SELECT ON TABLES TO {who};",
        *(f"REVOKE EXECUTE ON FUNCTION pg_catalog.{name} FROM PUBLIC;" for name in _OUT_OF_REACH),
    ]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
