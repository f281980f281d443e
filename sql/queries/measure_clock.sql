-- measure_clock: the server's wall clock, to compare with the asker's.
select jsonb_build_object('seconds', extract(epoch from clock_timestamp()))
