-- health_suspects: entries that a worker had in hand while it died folding; in a side table, which a reader may find locked.
select pg_catalog.jsonb_build_object('entries', count(*)) from postmeter.suspect
