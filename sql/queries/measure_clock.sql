-- measure_clock: the server's wall clock, to compare with the asker's.
select pg_catalog.jsonb_build_object('seconds', extract(epoch from clock_timestamp()))
