-- What check.py compares the documents with: lines 'kind|name|...'.
SELECT 'setting', name, CASE WHEN boot_val = '' THEN '''''' WHEN unit IS NULL THEN boot_val ELSE current_setting(name) END
	FROM pg_settings WHERE name LIKE 'vdb.%' AND source = 'default';
SELECT 'range', name, CASE context WHEN 'sighup' THEN 'reload' WHEN 'postmaster' THEN 'restart' WHEN 'user' THEN 'session' ELSE context END,
	CASE vartype WHEN 'bool' THEN 'on, off' WHEN 'enum' THEN array_to_string(enumvals, ', ') WHEN 'string' THEN 'text'
		WHEN 'integer' THEN min_val || CASE max_val WHEN '2147483647' THEN coalesce(' ' || unit, '') || ' or more'
			ELSE ' to ' || max_val || coalesce(' ' || unit, '') END END
	FROM pg_settings WHERE name LIKE 'vdb.%';
SELECT 'not_in_sample', name FROM pg_settings WHERE name LIKE 'vdb.%' AND 'NOT_IN_SAMPLE' = ANY (pg_settings_get_flags(name));
SELECT 'column', 'vdb.' || c.relname || '.' || a.attname
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'vdb'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 AND NOT a.attisdropped;
-- the functions behind the views are described with these
SELECT 'function', 'vdb.' || p.proname
	FROM pg_proc p WHERE p.pronamespace = 'vdb'::regnamespace;
SELECT 'result', 'vdb.' || p.proname || '.' || n
	FROM pg_proc p, unnest(p.proargnames, p.proargmodes) AS u (n, m)
	WHERE p.pronamespace = 'vdb'::regnamespace AND m IN ('o', 't') AND p.proname NOT LIKE '%\_statistics';
SELECT 'comment', pg_describe_object(d.classid, d.objid, 0) || ' has no comment'
	FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'vdb_am' AND d.deptype = 'e' AND obj_description(d.objid, d.classid::regclass::name) IS NULL;
SELECT 'comment', 'column ' || a.attname || ' of ' || a.attrelid::regclass || ' has no comment'
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'vdb'::regnamespace AND c.relkind IN ('v', 'r', 'm') AND a.attnum > 0 AND NOT a.attisdropped
		AND col_description(a.attrelid, a.attnum) IS NULL;
SELECT 'comment', 'type ' || t.typname || ' has no comment'
	FROM pg_type t
	WHERE t.typnamespace = 'vdb'::regnamespace AND t.typrelid = 0 AND t.typelem = 0 AND obj_description(t.oid, 'pg_type') IS NULL;
