-- balance_found: what does not close by the proofs that there are.
select (select count(*) from postmeter.proven_meter p where p.difference <> 0)
           + (select coalesce(sum(o.open), 0) from postmeter.usage_open o)::bigint as open,
       coalesce((select t.name || ' ' || m.buyer || ' ' || m.dimension || ' ' || m.month || ': ' || trim_scale(p.difference)
                 from postmeter.proven_meter p
                 join postmeter.meter m on m.id = p.meter_id
                 join postmeter.destination t on t.id = m.destination_id
                 where p.difference <> 0 order by p.meter_id limit 1),
                (select 'meter ' || p.meter_id || ' is gone: ' || trim_scale(p.difference) from postmeter.proven_meter p
                 where p.difference <> 0 order by p.meter_id limit 1),
                (select o.example from postmeter.usage_open o order by o.first limit 1)) as example
