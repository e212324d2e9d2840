-- Joins of rows just loaded, and rows fetched here and there by a bitmap.
CREATE TABLE a (id int, b int, v text);
CREATE TABLE b (id int PRIMARY KEY, v text);
INSERT INTO a SELECT i, i * 7 % 3000, 'a' || i FROM generate_series(1, 2000) i;
INSERT INTO b SELECT i, 'b' || i FROM generate_series(1, 2000) i;
-- move
INSERT INTO a SELECT i, i * 7 % 3000, 'a' || i FROM generate_series(2001, 4000) i;
INSERT INTO b SELECT i, 'b' || i FROM generate_series(2001, 2500) i;
CREATE INDEX a_b ON a (b);
DELETE FROM a WHERE id % 11 = 0;
UPDATE a SET v = v || '!' WHERE id % 13 = 0;
-- queries
SELECT count(*), sum(a.id), max(b.v) FROM a JOIN b ON a.b = b.id;
SELECT a.id, b.v FROM a LEFT JOIN b ON a.b = b.id WHERE a.id % 97 = 3;
SELECT id FROM a WHERE b IN (1, 50, 700, 701, 702, 2500, 2999) OR b BETWEEN 1500 AND 1510;
SET enable_indexscan = off;
SET enable_seqscan = off;
SELECT id, v FROM a WHERE b = ANY (ARRAY[3, 5, 1000, 1400, 2999]);
SELECT count(*), sum(id) FROM a WHERE b % 10 = 7 AND b > 1000;
RESET enable_indexscan;
RESET enable_seqscan;
BEGIN;
INSERT INTO a SELECT i, i % 50, 'fresh' FROM generate_series(5000, 6000) i;
SELECT count(*), count(b.v) FROM a LEFT JOIN b ON a.b = b.id AND a.v = 'fresh';
ROLLBACK;
