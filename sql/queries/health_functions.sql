-- health_functions: functions in our schema that look names up on their caller's search_path.
select pg_catalog.jsonb_build_object('function', p.oid::regprocedure::text, 'kind', case p.prokind when 'p'::"char" then 'procedure' else 'function' end,
    'definer', p.prosecdef)
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
where p.pronamespace = 'postmeter'::regnamespace and p.prosqlbody is null
  and l.lanname <> 'internal'::name and l.lanname <> 'c'::name
  and not exists (select from pg_catalog.unnest(p.proconfig) c(setting) where c.setting = 'search_path=pg_catalog, pg_temp'::text)
order by p.oid::regprocedure::text
