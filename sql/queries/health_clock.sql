-- health_clock: what the database is for, and how far its clock is from the server's.
select pg_catalog.jsonb_build_object('purpose', s.purpose, 'frozen', s.clock_frozen is not null,
    'shift_seconds', extract(epoch from postmeter.clock() - clock_timestamp()))
from postmeter.setting s
