-- @n@ events as CSV, the same in every run: all 'random' values come from a hash of the number.
COPY (
  SELECT g AS id,
    to_char(timestamptz '2026-01-01 00:00:00+00' + g * interval '40 milliseconds' + (h1 & 1023) * interval '1 millisecond', 'YYYY-MM-DD HH24:MI:SS.MS') || '+00' AS ts,
    ((h1 >> 10) & 4095) * ((h1 >> 22) & 1) + ((h1 >> 23) & 63) AS device,
    (ARRAY['north', 'south', 'east', 'west', 'center', 'islands'])[1 + ((h1 >> 30) & 1023) % 6] AS region,
    (ARRAY['measure', 'measure', 'measure', 'measure', 'open', 'close', 'alarm', 'login'])[1 + ((h1 >> 40) & 7)] AS kind,
    CASE WHEN ((h1 >> 43) & 255) < 230 THEN 200 WHEN ((h1 >> 43) & 255) < 250 THEN 404 ELSE 500 END AS status,
    CASE WHEN (h2 & 31) = 0 THEN NULL ELSE round((20 + 15 * sin(g / 90000.0) + ((h2 >> 5) & 1023) / 200.0)::numeric, 2) END AS reading,
    CASE WHEN (h2 & 63) = 1 THEN NULL ELSE 3 + (((h2 >> 15) & 255) * ((h2 >> 23) & 255)) / 64 END AS latency_ms,
    '/api/v' || 1 + ((h2 >> 31) & 1) || '/' || (ARRAY['devices', 'sites', 'reports', 'users'])[1 + ((h2 >> 32) & 3)] || '/' || ((h2 >> 34) & 8191) AS path,
    '{"fw": "3.' || ((h1 >> 50) & 15) || '", "battery": ' || ((h2 >> 47) & 127) % 101 || ', "tags": ["' ||
      (ARRAY['indoor', 'outdoor', 'mobile'])[1 + ((h2 >> 54) & 63) % 3] || '"], "seq": ' || g % 100000 || '}' AS detail
  FROM (
    SELECT g, hashint8extended(g, 1) & 9223372036854775807 AS h1, hashint8extended(g, 2) & 9223372036854775807 AS h2
    FROM generate_series(1, @n@) g
  ) s
) TO STDOUT (FORMAT csv)
