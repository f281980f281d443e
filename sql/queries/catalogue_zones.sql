-- catalogue_zones: which of these are no time zones.
-- $1 names.
select w.zone from unnest($1::text[]) w(zone)
where not exists (select from pg_timezone_names z where z.name = w.zone)
