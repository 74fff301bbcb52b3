INSERT INTO suppliers VALUES (9, 'x', 'y', 1)
INSERT INTO suppliers SELECT * FROM suppliers
UPDATE suppliers SET name = 'x'
UPDATE suppliers SET name = 'x' RETURNING *
DELETE FROM suppliers
DELETE FROM suppliers USING parts
TRUNCATE suppliers
TRUNCATE suppliers, parts CASCADE
MERGE INTO suppliers s USING parts p ON s.id = p.id WHEN MATCHED THEN DELETE
DROP TABLE suppliers
DROP SCHEMA public CASCADE
DROP OWNED BY reader CASCADE
CREATE TABLE evil (x int)
CREATE TEMP TABLE evil AS SELECT 1
CREATE UNLOGGED TABLE evil (x int)
CREATE FUNCTION evil() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE OR REPLACE FUNCTION pg_temp.evil() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$
CREATE EXTENSION dblink
CREATE EXTENSION file_fdw
CREATE SERVER evil FOREIGN DATA WRAPPER file_fdw
CREATE ROLE evil SUPERUSER
CREATE VIEW evil AS SELECT 1
CREATE INDEX ON suppliers (name)
CREATE SEQUENCE evil
CREATE MATERIALIZED VIEW evil AS SELECT 1
CREATE DATABASE evil
CREATE TABLESPACE evil LOCATION '{folder}'
ALTER TABLE suppliers ADD COLUMN evil text
ALTER ROLE reader SUPERUSER
ALTER ROLE reader SET default_transaction_read_only = off
ALTER SYSTEM SET shared_buffers = '1GB'
ALTER DATABASE postgres SET work_mem = '1GB'
GRANT ALL ON suppliers TO public
REVOKE SELECT ON suppliers FROM reader
COMMENT ON TABLE suppliers IS 'evil'
SECURITY LABEL ON TABLE suppliers IS 'evil'
WITH gone AS (DELETE FROM suppliers RETURNING *) SELECT * FROM gone
WITH x AS (INSERT INTO suppliers VALUES (9, 'x', 'y', 1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE suppliers SET name = 'x' RETURNING *) SELECT count(*) FROM x
WITH x AS (SELECT 1) DELETE FROM suppliers
SELECT * INTO evil FROM suppliers
SELECT * INTO TEMP evil FROM suppliers
SELECT 1; DELETE FROM suppliers
SELECT 1; COMMIT; DELETE FROM suppliers
COMMIT; DELETE FROM suppliers
ROLLBACK; BEGIN READ WRITE; DELETE FROM suppliers; COMMIT
SELECT 1); DELETE FROM suppliers; --
x'; DELETE FROM suppliers; --
SELECT $$x$$; DELETE FROM suppliers
SELECT $a$ $a$; DROP TABLE suppliers; SELECT $a$ $a$
SELECT 1 /* /* nested */ ; DELETE FROM suppliers -- */
SELECT E'\'; DELETE FROM suppliers; --'
SELECT U&'\0027; DELETE FROM suppliers; --'
BEGIN
BEGIN READ WRITE
COMMIT
ROLLBACK
SET default_transaction_read_only = off
SET TRANSACTION READ WRITE
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET ROLE owner
SET SESSION AUTHORIZATION owner
SET statement_timeout = 0
RESET ALL
DISCARD ALL
SET search_path = evil
SELECT set_config('transaction_read_only', 'off', false)
SELECT set_config('default_transaction_read_only', 'off', false), nextval('numbers')
SELECT set_config('statement_timeout', '0', false) FROM pg_sleep(20)
SELECT set_config('role', 'owner', false)
SELECT set_config('session_authorization', 'owner', false)
SELECT set_config('search_path', 'evil', false)
SELECT set_config('work_mem', '2GB', false)
SELECT pg_catalog.set_config('lock_timeout', '0', true)
SELECT nextval('numbers')
SELECT setval('numbers', 1000)
SELECT currval('numbers')
SELECT lastval()
SELECT nextval('numbers') FROM generate_series(1, 100)
SELECT name FROM suppliers WHERE id = nextval('numbers')
SELECT lo_create(4242)
SELECT lo_creat(-1)
SELECT lo_from_bytea(4243, 'x')
SELECT lo_import('{canary}')
SELECT lo_import('{canary}', 4244)
SELECT lo_export(4242, '{out}')
SELECT lo_put(4242, 0, 'x')
SELECT lo_get(4242)
SELECT lo_unlink(4242)
SELECT pg_read_file('{canary}')
SELECT pg_read_file('{canary}', 0, 100)
SELECT pg_read_binary_file('{canary}')
SELECT pg_catalog.pg_read_file('{canary}')
SELECT "pg_read_file"('{canary}')
SELECT pg_read_file(U&'{canary}')
SELECT convert_from(pg_read_binary_file('{canary}'), 'utf8')
SELECT * FROM pg_read_file('{canary}') AS f(x)
SELECT pg_ls_dir('{folder}')
SELECT * FROM pg_ls_dir('/')
SELECT * FROM pg_ls_logdir()
SELECT * FROM pg_ls_waldir()
SELECT pg_stat_file('{canary}')
SELECT pg_file_write('{out}', 'x', false)
SELECT pg_current_logfile()
COPY suppliers TO '{out}'
COPY suppliers TO PROGRAM 'touch {out}'
COPY suppliers FROM '{canary}'
COPY suppliers FROM PROGRAM 'cat {canary}'
COPY (SELECT 1) TO PROGRAM 'touch {out}'
COPY (SELECT * FROM suppliers) TO STDOUT
COPY (DELETE FROM suppliers RETURNING *) TO '{out}'
SELECT dblink('host=127.0.0.1 port={port}', 'SELECT 1')
SELECT * FROM dblink('host=127.0.0.1 port={port} user=owner', 'DELETE FROM suppliers') AS t(x text)
SELECT dblink_connect('host=127.0.0.1 port={port}')
SELECT dblink_exec('host=127.0.0.1 port={port}', 'DELETE FROM suppliers')
SELECT pg_sleep(20)
SELECT pg_sleep_for('20 seconds')
SELECT pg_sleep_until(now() + interval '20 seconds')
SELECT name, pg_sleep(20) FROM suppliers
SELECT count(*) FROM suppliers WHERE pg_sleep(20) IS NOT NULL
SELECT * FROM suppliers ORDER BY pg_sleep(20)
SELECT CASE WHEN pg_sleep(20) IS NULL THEN 1 END
SELECT (SELECT pg_sleep(20))
SELECT pg_advisory_lock(1)
SELECT pg_advisory_lock(1), pg_advisory_lock(2) FROM suppliers
SELECT pg_try_advisory_lock(id) FROM suppliers
SELECT pg_advisory_xact_lock(1)
SELECT pg_advisory_lock_shared(1)
SELECT * FROM suppliers FOR UPDATE
SELECT * FROM suppliers FOR SHARE
SELECT * FROM suppliers FOR NO KEY UPDATE SKIP LOCKED
SELECT * FROM (SELECT * FROM suppliers FOR UPDATE) s
LOCK TABLE suppliers IN ACCESS EXCLUSIVE MODE
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
SELECT pg_terminate_backend(pg_backend_pid())
SELECT pg_reload_conf()
SELECT pg_rotate_logfile()
SELECT pg_switch_wal()
SELECT pg_create_restore_point('evil')
SELECT pg_create_physical_replication_slot('evil')
SELECT pg_logical_emit_message(false, 'evil', 'x')
SELECT pg_notify('evil', 'x')
NOTIFY evil
LISTEN evil
SELECT pg_stat_reset()
SELECT pg_stat_reset_shared('bgwriter')
SELECT pg_promote()
SELECT pg_backup_start('x')
SELECT query_to_xml('DELETE FROM suppliers', true, true, '')
SELECT query_to_xml('SELECT pg_sleep(20)', true, true, '')
SELECT query_to_xml_and_xmlschema('SELECT nextval(''numbers'')', true, true, '')
SELECT database_to_xml(true, true, '')
SELECT cursor_to_xml('c', 1, true, true, '')
SELECT table_to_xml('secrets', true, true, '')
SELECT xpath('/x', '<!DOCTYPE x [<!ENTITY e SYSTEM "file://{canary}">]><x>&e;</x>'::xml)
SELECT xmlparse(document '<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1:{port}/">]><x>&e;</x>')
SELECT ts_stat('SELECT pg_sleep(20)')
SELECT * FROM ts_stat('DELETE FROM suppliers RETURNING name')
SELECT * FROM secrets
SELECT secret FROM public.secrets
SELECT (SELECT secret FROM secrets LIMIT 1)
SELECT * FROM pg_shadow
SELECT * FROM pg_authid
SELECT rolpassword FROM pg_catalog.pg_authid
SELECT passwd FROM pg_user
SELECT * FROM pg_stat_activity
SELECT * FROM pg_settings
SELECT * FROM pg_hba_file_rules
SELECT * FROM pg_file_settings
SELECT * FROM pg_config
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM suppliers, (WITH pg_shadow AS (SELECT 1) SELECT * FROM pg_shadow) x, pg_shadow
SELECT current_setting('data_directory')
SELECT current_setting('config_file')
SELECT inet_server_addr(), inet_server_port()
SELECT version()
SELECT current_user, session_user
SHOW data_directory
SHOW ALL
SELECT pg_relation_filepath('suppliers')
SELECT pg_get_functiondef('lower(text)'::regprocedure)
SELECT 'suppliers'::regclass
SELECT CAST('secrets' AS regclass)::oid
SELECT has_table_privilege('secrets', 'SELECT')
SELECT count(*) FROM generate_series(1, 1000000000000)
SELECT * FROM generate_series(1, 1000000000000)
SELECT repeat('x', 1000000000)
SELECT length(repeat(repeat('x', 10000), 100000))
SELECT lpad('x', 1000000000)
SELECT format('%1000000000s', 'x')
SELECT string_agg(repeat('x', 1000), '') FROM generate_series(1, 1000000)
SELECT array_fill(1, ARRAY[100000000])
SELECT array_agg(x) FROM generate_series(1, 100000000) x
SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' ~ '(a+)+(a+)+(a+)+$b'
SELECT regexp_replace(repeat('a', 100000), '(a*)*(a*)*(a*)*b', 'x')
SELECT regexp_matches('aaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '((((a+)+)+)+)+b')
SELECT 10 ^ 10 ^ 10 ^ 10
SELECT factorial(100000)
SELECT 9999999999::numeric ^ 100000
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c
WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaa' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c
SELECT count(*) FROM suppliers a, suppliers b, suppliers c, suppliers d, suppliers e, suppliers f, suppliers g, suppliers h, suppliers i, suppliers j, suppliers k, suppliers l, suppliers m, suppliers n, suppliers o, suppliers p, suppliers q, suppliers r
DO $$BEGIN DELETE FROM suppliers; END$$
DO LANGUAGE plpgsql 'BEGIN PERFORM pg_sleep(20); END'
CALL evil()
EXECUTE evil
PREPARE evil AS DELETE FROM suppliers
DECLARE c CURSOR FOR SELECT 1
DECLARE c CURSOR WITH HOLD FOR SELECT 1
FETCH ALL FROM answer
CLOSE answer
MOVE ALL FROM answer
EXPLAIN ANALYZE DELETE FROM suppliers
EXPLAIN SELECT 1
VACUUM
VACUUM FULL suppliers
ANALYZE
CLUSTER suppliers
REINDEX TABLE suppliers
CHECKPOINT
LOAD 'auto_explain'
IMPORT FOREIGN SCHEMA public FROM SERVER evil INTO public
REFRESH MATERIALIZED VIEW evil
TABLE suppliers
VALUES (1)
SELECT wipe()
SELECT public.wipe()
SELECT * FROM wipe()
SELECT name FROM suppliers WHERE wipe() IS NULL
SELECT (s).wipe FROM suppliers s
SELECT s.touched FROM suppliers s
SELECT 1 OPERATOR(public.!!!) 2
SELECT * FROM suppliers TABLESAMPLE SYSTEM (100)
SELECT * FROM ROWS FROM (generate_series(1, 1000000000), generate_series(1, 1000000000)) AS t
SELECT $1
SELECT :'name'
\! touch {out}
\copy suppliers TO '{out}'
SELECT pg_export_snapshot()
SELECT txid_current()
SELECT pg_current_xact_id()
SELECT pg_prewarm('suppliers')
SELECT brin_summarize_new_values('suppliers'::regclass)
SELECT gin_clean_pending_list('suppliers'::regclass)
SELECT pg_import_system_collations('public')
SELECT pg_extension_config_dump('suppliers', '')
SELECT binary_upgrade_set_next_pg_type_oid(1)
SELECT pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')
SELECT plpgsql_call_handler()
