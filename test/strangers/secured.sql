-- Row-level security and security barriers: no row and no error may tell of what is hidden.
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger_reader') THEN CREATE ROLE stranger_reader; END IF; END $$;
CREATE TABLE t (id int, owner text, secret int);
INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'stranger_reader' ELSE 'other' END, i % 10 FROM generate_series(1, 400) i;
-- move
INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'stranger_reader' ELSE 'other' END, i % 10 FROM generate_series(401, 600) i;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON t FOR ALL TO stranger_reader USING (owner = current_user) WITH CHECK (secret < 100);
CREATE FUNCTION leak(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN IF $1 = 7 THEN RAISE EXCEPTION 'leaked %', $1; END IF; RETURN true; END $$;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM t WHERE secret <> 7;
GRANT USAGE ON SCHEMA stranger TO stranger_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON t TO stranger_reader;
GRANT SELECT ON barrier TO stranger_reader;
-- queries
SELECT count(*), sum(id) FROM barrier WHERE leak(secret);
SELECT count(*) FROM barrier WHERE secret = 7 OR 1 / (secret - 7) > 0;
SELECT count(*) FROM t WHERE leak(secret);
SET ROLE stranger_reader;
SELECT count(*), sum(id), count(DISTINCT owner) FROM t;
SELECT secret, count(*) FROM t WHERE secret = 3 GROUP BY secret;
SELECT count(*) FROM t WHERE owner = 'other' AND 1 / (secret - 1) > 0;
BEGIN;
UPDATE t SET secret = secret + 1;
DELETE FROM t WHERE id < 100;
SELECT count(*), sum(secret) FROM t;
INSERT INTO t VALUES (1000, 'stranger_reader', 200);
ROLLBACK;
SELECT count(*) FROM barrier;
TABLE pg_temp.nothing;
RESET ROLE;
SELECT count(*) FROM t;
