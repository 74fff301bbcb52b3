SELECT * FROM suppliers
SELECT name, rating FROM suppliers WHERE country = 'Germany' ORDER BY rating DESC NULLS LAST LIMIT 1 OFFSET 0
SELECT count(*), count(DISTINCT country), avg(rating), sum(rating), min(name), max(name), total(rating) FROM suppliers
SELECT country, group_concat(name, ', ') FROM suppliers GROUP BY country HAVING count(*) > 1
SELECT s.name FROM suppliers AS s LEFT JOIN parts p ON p.supplier_id = s.id WHERE p.id IS NULL
SELECT name FROM suppliers NATURAL JOIN german
SELECT suppliers.name FROM suppliers JOIN parts USING (id) CROSS JOIN german g
SELECT name FROM suppliers WHERE id IN (SELECT supplier_id FROM parts WHERE price > 1)
SELECT name FROM suppliers s WHERE EXISTS (SELECT 1 FROM parts WHERE supplier_id = s.id) AND NOT name LIKE '%x' ESCAPE '!'
SELECT name FROM suppliers UNION SELECT country FROM suppliers EXCEPT SELECT 'x' INTERSECT SELECT 'y'
WITH big AS (SELECT * FROM parts WHERE price > 1), n AS (SELECT count(*) AS k FROM big) SELECT k FROM n
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5) SELECT x FROM c
SELECT row_number() OVER (PARTITION BY country ORDER BY rating), rank() OVER w, lag(name, 1, '') OVER w FROM suppliers WINDOW w AS (ORDER BY id)
SELECT sum(price) FILTER (WHERE id > 1) FROM parts
SELECT sum(rating) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM suppliers
SELECT dense_rank() OVER w, ntile(2) OVER w, first_value(name) OVER w, percent_rank() OVER w FROM suppliers WINDOW w AS (ORDER BY id)
SELECT CASE country WHEN 'France' THEN 1 ELSE 0 END, iif(rating > 4, 'a', 'b'), coalesce(rating, 0), ifnull(rating, 1), nullif(id, 1) FROM suppliers
SELECT CAST(rating AS INTEGER), CAST(id AS VARCHAR(10)), round(rating, 1), abs(-id), id % 2, id / 2, -id, ~id, id << 1, id | 1, id & 1 FROM suppliers
SELECT upper(name) || lower(country), length(name), substr(name, 1, 2), trim(name), ltrim(name), rtrim(name), replace(name, 'a', 'b'), instr(name, 'c') FROM suppliers
SELECT date('now', '-1 day'), datetime('2020-01-01'), time('12:00'), strftime('%Y', '2020-01-01'), julianday('now'), unixepoch('now'), current_date, current_timestamp
SELECT hex(data), quote(data), typeof(data), x'0aff', 0x10, 1e3, TRUE, NULL FROM parts
SELECT printf('%05d', 7), format('%s', 'x'), char(65), unicode('A'), random() IS NOT NULL, max(1, 2), min(1, 2), sign(-2), soundex('x')
SELECT sqrt(4), pow(2, 3), power(2, 3), exp(1), ln(2), log(10), log2(8), ceil(1.2), floor(1.8), mod(5, 3), pi(), sin(0), radians(180), trunc(1.5)
SELECT json_extract('{"a": [1]}', '$.a[0]'), '{"a": 1}' -> '$.a', '{"a": 1}' ->> '$.a', json_array(1, 2), json_valid('x')
SELECT value FROM json_each('[1, 2]')
SELECT name FROM suppliers WHERE name GLOB 'A*' OR name = 'café' COLLATE NOCASE OR rating BETWEEN 1 AND 2 OR rating ISNULL OR rating NOTNULL
SELECT * FROM (SELECT name AS "the name" FROM [suppliers]) AS `x`
SELECT * FROM main.suppliers AS s, (VALUES (1, 2), (3, 4)) AS v
SELECT name FROM sqlite_master WHERE type = 'table'
SELECT rowid, * FROM suppliers -- with a comment; and a semicolon
/* first */ SELECT 'DELETE FROM suppliers; PRAGMA x' AS text;
SELECT 1 ; -- after the end
SELECT id IS NOT 2, id IS DISTINCT FROM 2, (id, name) = (1, 'Acme') FROM suppliers
