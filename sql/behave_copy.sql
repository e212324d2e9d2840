-- COPY in and out, in every format, over rows in SCM and on flash, with errors in the middle.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE cp (id int PRIMARY KEY, t text, n numeric, d date, a int[]);
COPY cp FROM stdin;
1	one	1.5	2001-01-01	{1,2}
2	\N	\N	\N	\N
3	tab\there	-0.001	2001-12-31	{}
4		1e10	2000-02-29	{NULL,5}
\.
COPY cp (id, t) FROM stdin WITH (FORMAT csv, HEADER, NULL 'nil');
id,t
5,"quoted, ""text"""
6,nil
7,""
\.
COPY cp TO stdout;
CALL test_migrate('cp');
COPY cp TO stdout;
COPY cp (t, id) TO stdout WITH (FORMAT csv, HEADER, FORCE_QUOTE *);
COPY (SELECT id, n FROM cp WHERE id < 4 ORDER BY id DESC) TO stdout;
-- an error in the middle leaves nothing
COPY cp (id, t) FROM stdin;
10	ten
11	eleven
1	doubled
12	twelve
\.
COPY cp (id, n) FROM stdin;
10	1
11	not a number
\.
SELECT count(*) FROM cp;
COPY cp (id, n) FROM stdin WHERE n > 5;
20	1
21	10
22	100
\.
SELECT id, n FROM cp WHERE id >= 20 ORDER BY id;
-- many rows, out to a file and in again, text and binary
INSERT INTO cp SELECT g, 'bulk ' || g, g / 8.0, date '2001-01-01' + g % 300, ARRAY[g, g + 1] FROM generate_series(100, 20099) g;
\getenv abs_builddir PG_ABS_BUILDDIR
\set text_file :abs_builddir '/results/behave_copy.text'
\set binary_file :abs_builddir '/results/behave_copy.bin'
\o /dev/null
\set ECHO none
SELECT format($f$\copy cp to '%s'$f$, :'text_file') AS out_text, format($f$\copy cp to '%s' (format binary)$f$, :'binary_file') AS out_bin,
	format($f$\copy cp2 from '%s'$f$, :'text_file') AS in_text, format($f$\copy cp2 from '%s' (format binary)$f$, :'binary_file') AS in_bin \gset
\set ECHO all
\o
:out_text
:out_bin
CREATE TABLE cp2 (LIKE cp INCLUDING ALL);
:in_text
SELECT count(*) FROM (SELECT * FROM cp EXCEPT SELECT * FROM cp2) x;
:in_bin
TRUNCATE cp2;
CALL test_migrate('cp');
:in_bin
SELECT count(*) FROM (SELECT * FROM cp EXCEPT SELECT * FROM cp2) x;
CALL test_migrate('cp2');
SELECT count(*) FROM (SELECT * FROM cp2 EXCEPT SELECT * FROM cp) x;
SELECT (SELECT digest FROM test_digest('cp')) = (SELECT digest FROM test_digest('cp2'));
-- into a table made in the same transaction, frozen
BEGIN;
CREATE TABLE cp3 (id int, v text);
COPY cp3 FROM stdin WITH (FREEZE);
1	frozen
2	rows
\.
SELECT * FROM cp3 ORDER BY id;
COMMIT;
CALL test_migrate('cp3');
SELECT * FROM cp3 ORDER BY id;
COPY cp3 FROM stdin WITH (FREEZE);
3	not allowed
\.
-- triggers and defaults stop the bulk path, partitions split it
CREATE TABLE cpp (id int, v text DEFAULT 'def') PARTITION BY LIST (id);
CREATE TABLE cpp1 PARTITION OF cpp FOR VALUES IN (1, 3);
CREATE TABLE cpp2 PARTITION OF cpp FOR VALUES IN (2, 4) USING heap;
COPY cpp (id) FROM stdin;
1
2
3
4
1
\.
COPY cpp FROM stdin;
5	nowhere
\.
CALL test_migrate('cpp');
SELECT tableoid::regclass, * FROM cpp ORDER BY tableoid::regclass::text, id;
COPY (DELETE FROM cpp WHERE id = 1 RETURNING id) TO stdout;
DROP TABLE cp, cp2, cp3, cpp;
