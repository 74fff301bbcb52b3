INSERT INTO suppliers VALUES (9, 'x', 'y', 1)
INSERT OR REPLACE INTO suppliers VALUES (1, 'x', 'y', 1)
INSERT INTO suppliers BY NAME SELECT 9 AS id
UPDATE suppliers SET name = 'x'
DELETE FROM suppliers
DELETE FROM suppliers RETURNING *
TRUNCATE suppliers
MERGE INTO suppliers USING parts ON suppliers.id = parts.id WHEN MATCHED THEN DELETE
DROP TABLE suppliers
DROP TABLE IF EXISTS suppliers CASCADE
CREATE TABLE evil (x int)
CREATE TEMP TABLE evil AS SELECT 1
CREATE OR REPLACE TABLE suppliers AS SELECT 1 AS x
CREATE TABLE evil AS FROM read_text('{canary}')
CREATE VIEW evil AS SELECT 1
CREATE MACRO evil(x) AS (SELECT content FROM read_text(x))
CREATE TEMP MACRO lower(x) AS 'evil'
CREATE SEQUENCE evil
CREATE SCHEMA evil
CREATE TYPE evil AS ENUM ('x')
CREATE SECRET evil (TYPE s3, KEY_ID 'x', SECRET 'y')
CREATE PERSISTENT SECRET evil (TYPE http, BEARER_TOKEN 'x')
ALTER TABLE suppliers ADD COLUMN evil text
COMMENT ON TABLE suppliers IS 'evil'
WITH gone AS (DELETE FROM suppliers RETURNING *) SELECT * FROM gone
SELECT 1; DELETE FROM suppliers
SELECT 1; DROP TABLE suppliers; SELECT 2
; DELETE FROM suppliers
BEGIN; DELETE FROM suppliers; COMMIT
BEGIN TRANSACTION
COMMIT
ATTACH '{canary}' AS c
ATTACH ':memory:' AS m
ATTACH '{out}' AS o (TYPE sqlite)
ATTACH 'host=127.0.0.1 port={port}' AS p (TYPE postgres)
ATTACH 'http://127.0.0.1:{port}/x.duckdb' AS h
DETACH shop
USE memory
COPY suppliers TO '{out}'
COPY suppliers TO '{out}' (FORMAT parquet)
COPY (SELECT 1) TO '{out}'
COPY suppliers FROM '{canary}'
COPY suppliers TO 'http://127.0.0.1:{port}/x'
EXPORT DATABASE '{out}'
IMPORT DATABASE '{folder}'
INSTALL httpfs
INSTALL httpfs FROM 'http://127.0.0.1:{port}'
INSTALL '{canary}'
FORCE INSTALL spatial
LOAD httpfs
LOAD '{canary}'
SELECT * FROM read_csv('{canary}')
SELECT * FROM read_csv_auto('{canary}')
SELECT * FROM read_csv(['{canary}', '{canary}'])
SELECT * FROM read_csv('http://127.0.0.1:{port}/x.csv')
SELECT * FROM read_csv('{folder}/*')
SELECT * FROM read_text('{canary}')
SELECT content FROM read_text('{folder}/**')
SELECT * FROM read_text('http://127.0.0.1:{port}/')
SELECT * FROM read_blob('{canary}')
SELECT * FROM read_json('{canary}')
SELECT * FROM read_json_auto('{canary}')
SELECT * FROM read_json_objects('{canary}')
SELECT * FROM read_ndjson('{canary}')
SELECT * FROM read_ndjson_objects('{canary}')
SELECT * FROM read_parquet('{canary}')
SELECT * FROM parquet_scan('{canary}')
SELECT * FROM parquet_metadata('{canary}')
SELECT * FROM parquet_schema('{canary}')
SELECT * FROM parquet_kv_metadata('{canary}')
SELECT * FROM sniff_csv('{canary}')
SELECT * FROM glob('{folder}/*')
SELECT * FROM glob('/etc/*')
SELECT * FROM read_duckdb('{canary}')
SELECT * FROM sqlite_scan('{canary}', 't')
SELECT * FROM postgres_scan('host=127.0.0.1 port={port}', 'public', 't')
SELECT * FROM mysql_query('x', 'y')
SELECT * FROM iceberg_scan('{canary}')
SELECT * FROM delta_scan('{canary}')
SELECT * FROM st_read('{canary}')
SELECT * FROM read_xlsx('{canary}')
SELECT * FROM '{canary}'
FROM '{canary}'
SELECT * FROM "{canary}"
SELECT * FROM '{folder}/*.csv'
SELECT * FROM 'http://127.0.0.1:{port}/x.parquet'
SELECT * FROM 's3://evil/x.parquet'
SELECT * FROM "file.csv"
SELECT * FROM suppliers JOIN '{canary}' ON true
SELECT (SELECT count(*) FROM '{canary}')
WITH x AS (SELECT * FROM '{canary}') SELECT * FROM x
SELECT * FROM query('SELECT * FROM read_text(''{canary}'')')
SELECT * FROM query('DELETE FROM suppliers')
SELECT * FROM query_table('suppliers')
SELECT * FROM query_table(['{canary}'])
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{canary}'')'))
PRAGMA json_execute_serialized_sql('x')
SELECT json_serialize_sql('SELECT 1')
SELECT getenv('HOME')
SELECT getenv('PATH')
SELECT getvariable('x')
SET VARIABLE x = 1
SELECT current_setting('temp_directory')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_databases()
SELECT path FROM duckdb_databases()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_extensions()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_logs
SELECT * FROM pragma_database_list()
SELECT * FROM pragma_table_info('suppliers')
SELECT * FROM pragma_storage_info('suppliers')
SELECT file FROM pragma_database_list
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM sqlite_master
SELECT current_database(), current_schema(), version()
PRAGMA database_list
PRAGMA show_tables
PRAGMA enable_profiling
PRAGMA enable_checkpoint_on_shutdown
PRAGMA memory_limit = '100GB'
SET memory_limit = '100GB'
SET enable_external_access = true
SET GLOBAL enable_external_access = true
SET lock_configuration = false
SET threads = 64
SET temp_directory = '{out}'
SET home_directory = '{folder}'
SET extension_directory = '{folder}'
SET custom_extension_repository = 'http://127.0.0.1:{port}'
SET log_query_path = '{out}'
SET search_path = 'evil'
RESET enable_external_access
CALL enable_logging(storage='file', storage_config={'path': '{out}'})
CALL enable_profiling()
CALL pragma_version()
CHECKPOINT
FORCE CHECKPOINT
VACUUM
ANALYZE
DESCRIBE suppliers
SUMMARIZE suppliers
SHOW TABLES
SHOW ALL TABLES
EXPLAIN ANALYZE DELETE FROM suppliers
EXPLAIN SELECT 1
PREPARE evil AS DELETE FROM suppliers
EXECUTE evil
DEALLOCATE evil
PIVOT suppliers ON country USING count(*)
UNPIVOT suppliers ON name INTO NAME k VALUE v
VALUES (1)
FROM suppliers
TABLE suppliers
SELECT nextval('numbers')
SELECT currval('numbers')
SELECT setseed(0.5)
SELECT sleep_ms(20000)
SELECT sleep_ms(20000) FROM suppliers
SELECT write_log('evil')
SELECT parse_path('{canary}'), error('x')
SELECT add_parquet_key('x', 'y')
SELECT count(*) FROM range(1000000000000)
SELECT * FROM range(1000000000000)
SELECT range(10000000000)
SELECT count(*) FROM generate_series(1, 1000000000000)
SELECT unnest(generate_series(1, 1000000000000))
SELECT repeat('x', 1000000000)
SELECT length(repeat(repeat('x', 100000), 100000))
SELECT lpad('x', 1000000000, 'y')
SELECT printf('%1000000000d', 1)
SELECT format('{:1000000000}', 1)
SELECT bar(1, 0, 1, 1000000)
SELECT list_transform(range(100000000), x -> x + 1)
SELECT list_reduce(range(1000000000), (x, y) -> x + y)
SELECT string_agg(repeat('x', 1000), '') FROM range(10000000)
SELECT array_agg(i) FROM range(10000000000) t(i)
SELECT list(i) FROM range(10000000000) t(i)
SELECT histogram(i) FROM range(10000000000) t(i)
SELECT median(i) FROM range(10000000000) t(i)
SELECT * FROM repeat('x', 100000000000)
SELECT * FROM repeat_row('x', num_rows = 100000000000)
SELECT * FROM test_all_types()
SELECT regexp_matches(repeat('a', 1000000), '(a*)*(a*)*b')
SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))
SELECT damerau_levenshtein(repeat('a', 100000), repeat('b', 100000))
SELECT jaccard(repeat('a', 100000000), 'b')
SELECT bitstring('1', 1000000000)
SELECT 10 ** 10 ** 10
SELECT factorial(1000)
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c
WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaa' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c
SELECT count(*) FROM suppliers a, suppliers b, suppliers c, suppliers d, suppliers e, suppliers f, suppliers g, suppliers h, suppliers i, suppliers j, suppliers k, suppliers l, suppliers m, suppliers n, suppliers o, suppliers p, suppliers q, suppliers r
SELECT COLUMNS('.*') FROM suppliers
SELECT * EXCLUDE (name) FROM suppliers
SELECT * FROM settings
SELECT * FROM connection
SELECT * FROM cursor
SELECT * FROM globals
SELECT $name
SELECT ?
SELECT [x FOR x IN range(10000000000)]
SELECT suppliers FROM suppliers POSITIONAL JOIN range(100000000000)
SELECT try(error('x'))
SELECT sql_auto_complete('x')
SELECT * FROM sql_auto_complete('SEL')
SELECT * FROM read_text(concat('{can', 'ary}'))
SELECT * FROM read_text(chr(47) || 'etc/passwd')
.shell touch {out}
.read {canary}
