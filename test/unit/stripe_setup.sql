-- Functions of stripe_test.c; :lib is the module.
\set QUIET on
SET client_min_messages = warning;
CREATE FUNCTION st_handler(internal) RETURNS table_am_handler LANGUAGE c AS :'lib', 'st_handler';
CREATE ACCESS METHOD st TYPE TABLE HANDLER st_handler;
CREATE FUNCTION st_build(src regclass, dst regclass, id int, range int, mode text,
  OUT first_page int, OUT npages int, OUT nrows int, OUT nchunks int, OUT bytes bigint) LANGUAGE c AS :'lib', 'st_build';
CREATE FUNCTION st_check(src regclass, dst regclass, id int, range int, mode text, first_page int, points bool)
  RETURNS bigint LANGUAGE c AS :'lib', 'st_check';
CREATE FUNCTION st_verify(dst regclass, id int, range int, first_page int, npages int) RETURNS text LANGUAGE c AS :'lib', 'st_verify';
CREATE FUNCTION st_flip(dst regclass, page int, byte int, mask int) RETURNS void LANGUAGE c AS :'lib', 'st_flip';
CREATE FUNCTION st_forge(dst regclass, page int, byte int, mask int) RETURNS void LANGUAGE c AS :'lib', 'st_forge';
CREATE FUNCTION st_read_value(dst regclass, id int, range int, first_page int, attno int, pos int)
  RETURNS text LANGUAGE c AS :'lib', 'st_read_value';
CREATE FUNCTION st_pages_check(dst regclass) RETURNS void LANGUAGE c AS :'lib', 'st_pages_check';
CREATE FUNCTION st_run(dst regclass, bytes int, piece int) RETURNS int LANGUAGE c AS :'lib', 'st_run';
CREATE FUNCTION st_references(dst regclass, id int, range int, first_page int) RETURNS void LANGUAGE c AS :'lib', 'st_references';
CREATE FUNCTION st_leak(dst regclass, id int, range int, first_page int) RETURNS void LANGUAGE c AS :'lib', 'st_leak';
CREATE FUNCTION st_info(dst regclass, id int, range int, first_page int, attno int, chunk int)
  RETURNS text LANGUAGE c AS :'lib', 'st_info';
CREATE FUNCTION st_zone(dst regclass, id int, range int, first_page int, attno int, chunk int)
  RETURNS text LANGUAGE c AS :'lib', 'st_zone';
CREATE FUNCTION st_bench(dst regclass, id int, range int, first_page int, lookups int, cold bool)
  RETURNS float8 LANGUAGE c AS :'lib', 'st_bench';
