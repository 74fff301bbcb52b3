INSERT INTO suppliers VALUES (9, 'x', 'y', 1)
INSERT INTO suppliers SELECT * FROM suppliers
INSERT INTO suppliers VALUES (9, 'x', 'y', 1) RETURNING *
REPLACE INTO suppliers VALUES (1, 'x', 'y', 1)
INSERT OR REPLACE INTO suppliers VALUES (1, 'x', 'y', 1)
UPDATE suppliers SET name = 'x'
UPDATE suppliers SET name = 'x' RETURNING name
DELETE FROM suppliers
DELETE FROM suppliers RETURNING *
DROP TABLE suppliers
DROP VIEW german
DROP TABLE IF EXISTS suppliers
CREATE TABLE evil (x)
CREATE TABLE evil AS SELECT * FROM suppliers
CREATE TEMP TABLE evil AS SELECT 1
CREATE VIEW evil AS SELECT 1
CREATE INDEX evil ON suppliers (name)
CREATE TRIGGER evil AFTER INSERT ON parts BEGIN DELETE FROM suppliers; END
CREATE VIRTUAL TABLE evil USING fts5(x)
ALTER TABLE suppliers RENAME TO evil
ALTER TABLE suppliers ADD COLUMN evil TEXT
WITH gone AS (DELETE FROM suppliers RETURNING *) SELECT * FROM gone
WITH x AS (SELECT 1) DELETE FROM suppliers
WITH x AS (SELECT 1) UPDATE suppliers SET name = (SELECT * FROM x)
WITH x AS (SELECT 1) INSERT INTO suppliers SELECT 9, 'x', 'y', 1 FROM x
WITH x AS (INSERT INTO suppliers VALUES (9, 'x', 'y', 1) RETURNING *) SELECT * FROM x
SELECT * FROM (DELETE FROM suppliers RETURNING *)
SELECT * INTO evil FROM suppliers
SELECT name INTO OUTFILE '/tmp/evil' FROM suppliers
SELECT 1; DELETE FROM suppliers
SELECT 1; SELECT 2
SELECT 1;; DROP TABLE suppliers
SELECT 1 /* ; */ ; DELETE FROM suppliers -- done
; DELETE FROM suppliers
DELETE FROM suppliers; SELECT 1
SELECT 1 WHERE 1 = 1; PRAGMA user_version = 7
BEGIN
BEGIN IMMEDIATE
COMMIT
ROLLBACK
SAVEPOINT evil
RELEASE evil
END
PRAGMA table_info(suppliers)
PRAGMA user_version = 7
PRAGMA journal_mode = DELETE
PRAGMA writable_schema = ON
PRAGMA query_only = OFF
PRAGMA hard_heap_limit = 0
PRAGMA temp_store_directory = '/tmp'
pragma/**/database_list
SELECT * FROM pragma_table_info('suppliers')
SELECT * FROM pragma_database_list
SELECT * FROM pragma_function_list()
SELECT file FROM PRAGMA_DATABASE_LIST
SELECT 1 WHERE 'x' IN pragma_database_list
SELECT (SELECT file FROM pragma_database_list)
SELECT * FROM suppliers JOIN pragma_module_list
WITH p AS (SELECT * FROM "pragma_database_list") SELECT * FROM p
ATTACH '/tmp/evil.sqlite' AS evil
ATTACH DATABASE ':memory:' AS evil
attach/* */database 'x' as y
DETACH main
SELECT * FROM evil.suppliers
SELECT * FROM temp.sqlite_temp_master
SELECT * FROM sqlite_temp_master
SELECT * FROM sqlite_stat1
SELECT * FROM sqlite_stmt
SELECT * FROM dbstat
VACUUM
VACUUM INTO '/tmp/evil.sqlite'
VACUUM main INTO '/tmp/evil.sqlite'
REINDEX
ANALYZE
EXPLAIN SELECT 1
EXPLAIN QUERY PLAN SELECT 1
VALUES (1), (2)
TABLE suppliers
SELECT load_extension('/tmp/evil.so')
SELECT LOAD_EXTENSION('/tmp/evil.so', 'entry')
SELECT "load_extension"('/tmp/evil.so')
SELECT [load_extension]('/tmp/evil.so')
SELECT `load_extension`('/tmp/evil.so')
SELECT name FROM suppliers ORDER BY load_extension('x')
SELECT count(*) FILTER (WHERE load_extension('x')) FROM suppliers
SELECT CASE WHEN 1 THEN load_extension('x') END
SELECT * FROM suppliers WHERE name = coalesce(load_extension('x'), 1)
SELECT readfile('/etc/passwd')
SELECT writefile('/tmp/evil', 'x')
SELECT edit('x', 'vi')
SELECT fts3_tokenizer('simple')
SELECT fts3_tokenizer('simple', x'4141414141414141')
SELECT zeroblob(2000000000)
SELECT randomblob(1000000000)
SELECT hex(zeroblob(1000000000))
SELECT sqlite_compileoption_get(1)
SELECT sqlite_log(1, 'x')
SELECT sqlite_source_id()
SELECT last_insert_rowid()
SELECT total_changes()
SELECT no_such_function(1)
SELECT rtreecheck('suppliers')
SELECT * FROM generate_series(1, 1000000000)
SELECT * FROM fsdir('/')
SELECT * FROM read_csv('/etc/passwd')
SELECT pg_sleep(100)
SELECT pg_read_file('/etc/passwd')
COPY suppliers TO PROGRAM 'sh'
COPY suppliers TO '/tmp/evil'
INSTALL httpfs
LOAD httpfs
CALL evil()
GRANT ALL ON suppliers TO public
EXECUTE evil
SELECT ?
SELECT :name
SELECT @name
SELECT * FROM suppliers FOR UPDATE
SELECT raise(ABORT, 'x')
.shell ls
.read /etc/passwd
SELECT 'open
SELECT /* open
SELECT (1
ſELECT 1
ＳＥＬＥＣＴ 1
DELETE FROM suppliers
--
/* SELECT 1 */
SELECT instr(printf('%4000000s', 'y'), printf('%2000000s', 'x'))
SELECT replace(printf('%4000000s', 'y'), printf('%2000000s', 'x'), '')
SELECT printf('%.*c', 1000000000, 'x')
SELECT length(printf('%.2000000000c', 'x'))
SELECT group_concat(a.name || b.name || c.name) FROM suppliers a, suppliers b, suppliers c, parts d, parts e, parts f, suppliers g
SELECT zeroblob(1 << 30) UNION SELECT randomblob(1 << 30)
SELECT file FROM pragma_database_list WHERE name = 'main'
SELECT * FROM pragma_database_list()
SELECT * FROM (SELECT * FROM pragma_compile_options)
SELECT * FROM "main"."pragma_database_list"
SELECT sql FROM sqlite_temp_schema
SELECT * FROM temp.sqlite_master
SELECT writefile('{out}', 'x')
SELECT hex(readfile('{canary}'))
SELECT * FROM fsdir('{folder}')
SELECT load_extension('{canary}')
ATTACH '{out}' AS o
ATTACH DATABASE '{canary}' AS c
VACUUM INTO '{out}'
PRAGMA journal_mode = WAL
PRAGMA wal_checkpoint(TRUNCATE)
PRAGMA application_id = 7
CREATE VIRTUAL TABLE evil USING rtree(id, a, b)
CREATE VIRTUAL TABLE evil USING csv(filename='{canary}')
INSERT INTO suppliers(suppliers) VALUES ('rebuild')
SELECT * FROM csv('{canary}')
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c
WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaa' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c
SELECT count(*) FROM suppliers a, suppliers b, suppliers c, suppliers d, suppliers e, suppliers f, suppliers g, suppliers h, suppliers i, suppliers j, suppliers k, suppliers l, suppliers m, suppliers n, suppliers o, suppliers p, suppliers q, suppliers r
SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%ab'
SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' REGEXP '(a+)+$'
SELECT json_extract('{canary}', '$') FROM json_each(readfile('{canary}'))
SELECT 1 UNION SELECT load_extension('{canary}')
SELECT (WITH x AS (SELECT writefile('{out}', 'x') AS y) SELECT y FROM x)
SELECT * FROM suppliers WHERE id IN (SELECT writefile('{out}', name) FROM suppliers)
SELECT * FROM suppliers ORDER BY (SELECT load_extension('{canary}'))
SELECT 1 /* */; /* */ DELETE FROM suppliers
sElEcT 1;dElEtE/**/fRoM/**/suppliers
EXPLAIN DELETE FROM suppliers
EXPLAIN QUERY PLAN DELETE FROM suppliers
REPLACE INTO suppliers SELECT * FROM suppliers
INSERT INTO suppliers DEFAULT VALUES
WITH RECURSIVE x AS (SELECT 1) INSERT INTO suppliers SELECT 8, 'x', 'y', 1 FROM x
UPDATE OR REPLACE suppliers SET id = 1
UPDATE suppliers SET name = 'x' FROM parts WHERE parts.id = suppliers.id
DELETE FROM sqlite_master
