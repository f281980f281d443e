-- alert_dead_letters: what was refused, expired or held and needs a person, by destination; what can no longer go anywhere.
-- Reads stuck, held and meters with something to bill (meter_billable).
with dead as (
    select t.name as destination, s.status as class, s.since, 'remittance ' || d.id::text as item
    from postmeter.stuck s
    join postmeter.delivery d on d.id = s.delivery_id and not d.shadow
    join postmeter.destination t on t.id = s.destination_id
    where s.status in ('rejected', 'expired', 'held') and not d.maybe_billed and d.reason is distinct from 'poison'
    union all
    select coalesce(t.name, ''), case h.reason when 'too_late' then 'held usage' else 'lost time' end, h.held_at, 'usage ' || h.usage_id::text
    from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    where h.reason in ('too_late', 'lost_time')
    union all
    select t.name, 'stranded', null, 'meter ' || m.id::text
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null and t.late_policy <> 'part'
    where m.billable > 0::numeric and postmeter.target_hour(m.id) is null
      and not exists (select from postmeter.delivery d join postmeter.open_hour o on o.delivery_id = d.id where d.meter_id = m.id)
)
select d.destination as subject, count(*) as count,
       pg_catalog.format('%s%s: %s', postmeter.counted(count(*), 'dead letter'), case when d.destination <> '' then ' at ' || d.destination else '' end,
              pg_catalog.concat_ws(', ', nullif(count(*) filter (where d.class = 'rejected'), 0)::text || ' rejected',
                        nullif(count(*) filter (where d.class = 'expired'), 0)::text || ' expired', nullif(count(*) filter (where d.class = 'held'), 0)::text || ' held',
                        nullif(count(*) filter (where d.class = 'held usage'), 0)::text || ' too late',
                        nullif(count(*) filter (where d.class = 'lost time'), 0)::text || ' of before commits were lost',
                        nullif(count(*) filter (where d.class = 'stranded'), 0)::text || ' without an hour left')) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(d.since), 'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(d.item order by d.since, d.item))[1:5])) as details
from dead d
group by d.destination
having pg_catalog.min(coalesce(d.since, '-infinity')) <= postmeter.clock() - (select r.patience from postmeter.alert_rule r where r.name = 'dead_letters')
