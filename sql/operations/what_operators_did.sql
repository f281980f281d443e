-- What did operators do?
--
-- Decisions (retry, release, write off, resolve, pause, resume, set alert) with who and why, and changes of the
-- catalogue with the database role that made them. The newest last. Both are append-only.
--
-- Parameters: since (a time; seven days ago if left out).
--   psql -v since=2024-09-18T11:00Z -f sql/operations/what_operators_did.sql
--   psql -f sql/operations/what_operators_did.sql
--
--            at           |        who         |                                   what …
-- ------------------------+--------------------+-------------------------------------------------------------------- …
--  2024-09-18 11:30:00+00 | postgres (role)    | destination changed: {"id": 1, "name": "aws", "paused": true} …
--  2024-09-18 11:30:00+00 | postgres (role)    | destination changed: {"id": 1, "name": "aws", "paused": false} …
--  2024-09-18 11:30:00+00 | mira (as postgres) | retry remittance 6: rejected to due …
--  2024-09-18 11:30:00+00 | mira (as postgres) | release remittance 7: rejected to released, to remittance 8 …
--  2024-09-18 11:30:00+00 | mira (as postgres) | write off usage …                                   : held to writt …
--  2024-09-18 11:30:00+00 | ada (as postgres)  | pause destination aws …
--  2024-09-18 11:30:00+00 | ada (as postgres)  | resume destination aws …
\if :{?since}
\else
    \set since ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- what_operators_did
with asked as (
    select coalesce(nullif(:'since', '')::timestamptz, postmeter.clock() - interval '7 days') as since
)
select x.at, x.who, x.what, x.units, x.why
from (
    select c.decided_at as at, c.id as number, c.who || ' (as ' || c.role_name || ')' as who,
           concat_ws(' ', replace(c.verb, '_', ' '),
                     coalesce('remittance ' || c.delivery_id, 'usage ' || c.usage_id, 'destination ' || c.destination,
                              c.detail ->> 'alert'))
           || case when c.delivery_id is not null or c.usage_id is not null or c.verb = 'set_alert'
                   then ': ' || replace(c.status_before, '_', ' ') || ' to ' || replace(c.status_after, '_', ' ')
                   else '' end
           || coalesce(', to remittance ' || c.target_delivery_id, '') as what,
           trim_scale(c.quantity) as units, c.why
    from asked a
    join postmeter.decision_log c on c.decided_at >= a.since
    union all
    select h.changed_at, h.id, h.changed_by || ' (role)', h.entry || case
               when h.old_row is null then ' added: ' || left(h.new_row::text, 200)
               when h.new_row is null then ' removed: ' || left(h.old_row::text, 200)
               else ' changed: ' || left(n.changes::text, 200) end,
           null, null
    from asked a
    join postmeter.catalogue_change h on h.changed_at >= a.since
    cross join lateral (
        -- what is other than before, and what names the row
        select jsonb_object_agg(e.key, e.value) as changes
        from jsonb_each(h.new_row) e
        where e.value is distinct from h.old_row -> e.key or e.key in ('id', 'name', 'org')
    ) n
) x
order by x.at, x.why is not null, x.number;
commit;
