-- The ten questions of the demo. Each is asked of the vdb table and of its heap twin: :t is the table.
-- question: How many flights, and how many miles?
SELECT count(*), sum(distance) FROM :t;
-- question: The five busiest airports
SELECT origin, count(*) FROM :t GROUP BY origin ORDER BY 2 DESC, 1 LIMIT 5;
-- question: Average delay by month
SELECT extract(month FROM date) AS month, round(avg(delay), 2) FROM :t GROUP BY 1 ORDER BY 1;
-- question: The worst delay, and who had it
SELECT delay, date, origin, destination FROM :t ORDER BY delay DESC, date, origin, destination LIMIT 3;
-- question: One day: 14 February
SELECT count(*), sum(delay), max(distance) FROM :t WHERE date >= '2001-02-14' AND date < '2001-02-15';
-- question: The longest routes flown more than 50 times
SELECT origin, destination, max(distance), count(*) FROM :t GROUP BY 1, 2 HAVING count(*) > 50 ORDER BY 3 DESC, 1, 2 LIMIT 5;
-- question: Share of flights more than 15 minutes late, by hour of departure
SELECT extract(hour FROM date) AS hour, round(100.0 * count(*) FILTER (WHERE delay > 15) / count(*), 1) FROM :t GROUP BY 1 ORDER BY 1;
-- question: From Honolulu or Anchorage on a Sunday in June
SELECT origin, count(*), round(avg(delay), 2) FROM :t
WHERE origin IN ('HNL', 'ANC') AND date >= '2001-06-01' AND date < '2001-07-01' AND extract(dow FROM date) = 0 GROUP BY 1 ORDER BY 1;
-- question: How many routes, and how many of them are flown both ways?
WITH routes AS (SELECT DISTINCT origin, destination FROM :t)
SELECT count(*), count(b.origin) FROM routes a LEFT JOIN routes b ON b.origin = a.destination AND b.destination = a.origin;
-- question: Median and 99th percentile of delay on short and long flights
SELECT distance > 1000 AS long, percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay) FROM :t GROUP BY 1 ORDER BY 1;
