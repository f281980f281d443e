-- measure_keys_stuck: transactions of ours that have kept an advisory lock for more than a minute: of a console it is the
-- key of a request that does not come to its end.
select jsonb_build_object('count', count(distinct l.pid))
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.database = (select d.oid from pg_database d where d.datname = current_database())
  and a.application_name like 'postmeter%' and a.xact_start < clock_timestamp() - interval '1 minute'
