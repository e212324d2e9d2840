-- Values at the edges of their types: no number, infinity, two zeroes, before Christ, empty, padded, very long, all null.
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t (id int, f float8, r real, n numeric, ts timestamp, d date, iv interval, s text, c char(5), b bytea, none int, p pair, a int[], m int4range, dom positive, j jsonb, u uuid, bits bit varying);
INSERT INTO t SELECT i, i, i, i, timestamp '2000-01-01' + i * interval '1 day', date '2000-01-01' + i, i * interval '1 hour', 's' || i, 'c' || i, decode(lpad(to_hex(i), 4, '0'), 'hex'), NULL,
	(i, 'p' || i)::pair, ARRAY[i, i + 1], int4range(i, i + 5), i, jsonb_build_object('k', i), md5(i::text)::uuid, i::bit(10) FROM generate_series(1, 300) i;
INSERT INTO t VALUES (-1, 'NaN', 'NaN', 'NaN', 'infinity', 'infinity', '1 month', '', '', '', NULL, (NULL, NULL), '{}', 'empty', NULL, 'null', NULL, ''),
	(-2, 'Infinity', 'Infinity', 'Infinity', '-infinity', '-infinity', '30 days', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- move
INSERT INTO t VALUES (-3, '-Infinity', '-Infinity', '-Infinity', '4713-01-01 BC', '4713-01-01 BC', '-1 year 12 months', 'a ', 'a ', '\x00', NULL, (1, ''), '{NULL}', '(,)', 1, '[]', md5('')::uuid, B'0'),
	(-4, '-0', '-0', 0.000, '0044-03-15 BC', '0044-03-15 BC', '24:00', 'a', 'a', '\x0000', NULL, (1, NULL), '{{1,2},{3,4}}', '[1,1]', 2147483647, '{}', md5('x')::uuid, B'00'),
	(-5, 0, 0, 1e-100, '294276-12-31 23:59:59.999999', '5874897-12-31', '1 day', repeat('long ', 300000), 'a    ', decode(repeat('ab', 100000), 'hex'), NULL, (1, repeat('q', 9000)), array_fill(7, ARRAY[5000]), '[5,)', 5, to_jsonb(repeat('j', 50000)), NULL, repeat('10', 4000)::varbit),
	(-6, 1e-320, 1e-45, 1e1000, NULL, NULL, '0', E'\t\n\\', E'\t', '\xff', NULL, (0, 'é'), '[-3:-2]={1,2}', '(,5)', 6, '1.0', NULL, B'1');
-- queries
SELECT id, f, r, n FROM t WHERE id < 5 ORDER BY id;
SELECT id, ts, d, iv FROM t WHERE id < 5 ORDER BY id;
SELECT id, left(s, 20), c, length(c), octet_length(b), none, left(p::text, 50) FROM t WHERE id < 5 ORDER BY id;
SELECT id, array_dims(a), m, dom, left(j::text, 30), u, length(bits) FROM t WHERE id < 5 ORDER BY id;
SELECT md5(s), md5(b), md5(p::text), md5(a::text), md5(j::text), md5(bits::text) FROM t WHERE id = -5;
SELECT id FROM t WHERE f > 299 OR f = 0;
SELECT id FROM t WHERE f = 'NaN' OR r >= 'Infinity' OR n < 0;
SELECT id FROM t WHERE n >= 'NaN' OR n < 1;
SELECT id FROM t WHERE ts < '0001-01-01' OR d = 'infinity' OR ts > 'today';
SELECT id FROM t WHERE iv = '1 month' OR iv = '1 day';
SELECT id FROM t WHERE s = '' OR s IS NULL OR s = 'a ';
SELECT id FROM t WHERE c = 'a' OR c = '';
SELECT id FROM t WHERE c LIKE 'a%' OR c || 'x' = 'ax';
SELECT id FROM t WHERE b < '\x0000' OR b = '\xff';
SELECT count(*), count(none), max(none), bool_and(none IS NULL) FROM t;
SELECT id FROM t WHERE none = 1 OR none IS NOT NULL;
SELECT id FROM t WHERE p IS NULL OR p IS NOT NULL AND id < 0;
SELECT id FROM t WHERE p = (1, '')::pair OR (p).a = 0 OR (p).b IS NULL;
SELECT id FROM t WHERE a = '{}' OR a @> '{7}' OR a < '{1}';
SELECT id FROM t WHERE m @> 3 OR isempty(m) OR lower_inf(m);
SELECT id FROM t WHERE dom = 2147483647 OR dom < 3;
SELECT id FROM t WHERE j = '1' OR j @> '{"k": 7}';
SELECT min(id), count(*) FROM t WHERE id < 3 GROUP BY f;
SELECT min(id), count(*) FROM t WHERE id < 3 GROUP BY n;
SELECT min(id), count(*) FROM t WHERE id < 25 GROUP BY iv;
SELECT min(id), count(*) FROM t WHERE id < 3 GROUP BY c;
SELECT p, count(*) FROM t WHERE id BETWEEN -4 AND 3 GROUP BY p;
SELECT a, j, m, count(*) FROM t WHERE id BETWEEN -4 AND 3 GROUP BY a, j, m;
SELECT max(f), min(f), max(n), min(n), max(ts), min(ts), max(d), min(iv), max(c), min(s), max(a) FROM t;
SELECT sum(f) FILTER (WHERE id > 0), avg(n) FILTER (WHERE id > 0), sum(n), max(r) FROM t;
SELECT DISTINCT f FROM t WHERE id < 0;
SELECT id, t FROM t WHERE id IN (-1, -2, 1) ORDER BY id;
