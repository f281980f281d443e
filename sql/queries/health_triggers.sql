-- health_triggers: triggers of ours that do not fire as they should. Intake's fires for rows that replication brings, too.
with t as (
    select c.relname, t.tgname, t.tgenabled
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'postmeter'::regnamespace and not t.tgisinternal
)
select pg_catalog.jsonb_build_object('table', pg_catalog.quote_ident(t.relname::text), 'trigger', pg_catalog.quote_ident(t.tgname::text), 'fires',
    case t.tgenabled when 'O'::"char" then 'not for replicas' when 'R'::"char" then 'for replicas only' else 'never' end)
from t
where t.tgenabled = 'D'::"char" or t.tgenabled = 'R'::"char"
   or (t.relname = 'outbox'::name and t.tgname = 'arrived'::name and t.tgenabled <> 'A'::"char")
union all
select pg_catalog.jsonb_build_object('table', 'outbox', 'trigger', 'arrived', 'fires', 'gone')
where not exists (select from t where t.relname = 'outbox'::name and t.tgname = 'arrived'::name)
