-- Round trips through COPY in all formats, of values that need quoting.
CREATE TABLE t (id int, s text, b bytea, f float8, a text[]);
INSERT INTO t SELECT i, 's' || i, decode(lpad(to_hex(i), 4, '0'), 'hex'), i / 3.0, ARRAY['a' || i, NULL] FROM generate_series(1, 300) i;
-- move
INSERT INTO t VALUES (-1, '', '', 'NaN', '{}'), (-2, NULL, NULL, NULL, NULL), (-3, E'tab\tnew\nline\\back', '\x00ff', '-0', ARRAY['"', ',']), (-4, '\N', '\x5c', 'Infinity', ARRAY['NULL']), (-5, '\.', '\x', 1e300, ARRAY['']), (-6, 'quote " and , comma', '\x22', 0, NULL),
	(-7, repeat('long', 100000), decode(repeat('00', 50000), 'hex'), 1, NULL);
CREATE TABLE back (LIKE t);
-- queries
BEGIN;
COPY t TO PROGRAM 'cat > strangers_copy';
COPY back FROM PROGRAM 'cat strangers_copy';
COPY t TO PROGRAM 'cat > strangers_copy' WITH (FORMAT csv, HEADER, FORCE_QUOTE *, NULL 'none');
COPY back FROM PROGRAM 'cat strangers_copy' WITH (FORMAT csv, HEADER MATCH, NULL 'none');
COPY t TO PROGRAM 'cat > strangers_copy' WITH (FORMAT binary);
COPY back FROM PROGRAM 'cat strangers_copy' WITH (FORMAT binary);
COPY (SELECT id, s FROM t WHERE id < 0 AND id > -7 ORDER BY id) TO PROGRAM 'cat > strangers_copy' WITH (DELIMITER '|', NULL '');
COPY back (id, s) FROM PROGRAM 'cat strangers_copy' WITH (DELIMITER '|', NULL '') WHERE id <> -4;
SELECT id, md5(s), md5(b), f, md5(a::text), count(*) FROM back WHERE id < 5 GROUP BY id, s, b, f, a;
SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM back) x;
SELECT count(*) FROM back;
ROLLBACK;
BEGIN;
COPY back (id) FROM PROGRAM 'echo 1; echo x; echo 3';
ROLLBACK;
SELECT count(*) FROM back;
