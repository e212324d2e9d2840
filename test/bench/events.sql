-- The events: ten columns of the usual kinds. @t@ is the table, @am@ its access method.
CREATE TABLE @t@ (
  id bigint NOT NULL,
  ts timestamptz NOT NULL,
  device int NOT NULL,
  region text NOT NULL,
  kind text NOT NULL,
  status smallint NOT NULL,
  reading float8,
  latency_ms int,
  path text,
  detail jsonb
) USING @am@
