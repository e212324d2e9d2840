-- Every pair of number types: comparisons across types, at the edges of what either can hold.
CREATE TABLE t (id int, a smallint, b int, c bigint, d real, e float8, n numeric, o oid, nm name, tx text, ch char(4), m money);
INSERT INTO t SELECT i, i, i, i, i, i, i, i, i::text, i::text, i::text, i FROM generate_series(0, 400) i;
-- move
INSERT INTO t VALUES (-1, -32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', '-Infinity', 0, '', '', '', 0),
	(-2, 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 'Infinity', 4294967295, 'zz', 'zz', 'zz', 1),
	(-3, NULL, NULL, NULL, 'NaN', 'NaN', 'NaN', NULL, NULL, NULL, NULL, NULL),
	(-4, 0, 0, 9007199254740993, '-0', '-0', 0.00, 1, '0', '0', '0', 0), (-5, 1, 16777217, 9007199254740992, 16777216, 9007199254740992, 1.10, 1, '1', '1 ', '1', 1);
-- queries
SELECT id FROM t WHERE a > 32766::bigint;
SELECT id FROM t WHERE a > 32768::int;
SELECT id FROM t WHERE a < 5000000000;
SELECT id FROM t WHERE b = 2147483647::bigint OR b = 5::smallint;
SELECT count(*) FROM t WHERE c > (-2147483649)::bigint AND c <= 10::smallint;
SELECT id FROM t WHERE d = 16777217::float8;
SELECT id FROM t WHERE d = 16777216::float8;
SELECT id FROM t WHERE e = 'NaN'::real OR e = '-0'::real;
SELECT id FROM t WHERE e > 'Infinity'::float8;
SELECT id FROM t WHERE d >= 'NaN'::float8;
SELECT id FROM t WHERE c = 9007199254740993::float8;
SELECT id FROM t WHERE c > 9007199254740992::numeric;
SELECT id FROM t WHERE b > 399.5;
SELECT id FROM t WHERE e < 0.5::real;
SELECT id FROM t WHERE n = 'NaN' OR n > 1000 OR n = '-Infinity';
SELECT id FROM t WHERE n = 1.1 OR n = 0;
SELECT id FROM t WHERE o = 4294967295 OR o = '-1'::int::oid;
SELECT id FROM t WHERE nm = 'zz'::text OR nm = '399'::name;
SELECT id FROM t WHERE tx = '1'::char(4) OR tx = '399'::name;
SELECT id FROM t WHERE ch = '1 ' OR ch = '399'::text;
SELECT id FROM t WHERE ch || '' = '1';
SELECT id FROM t WHERE m > '399.00'::money;
SELECT id FROM t WHERE e IS DISTINCT FROM id::float8 AND id >= 0;
SELECT id FROM t WHERE d IN ('NaN', '-Infinity', 3) OR n IN (5, 6.0);
