-- balance_found: what does not close by the proofs that there are.
select (select count(*) from postmeter.proven_meter p where p.difference operator(pg_catalog.<>) 0::pg_catalog.numeric)
           + (select coalesce(sum(o.open), 0) from postmeter.usage_open o)::bigint as open,
       coalesce((select pg_catalog.format('%s %s %s %s: %s', t.name, m.buyer, m.dimension, m.month, pg_catalog.trim_scale(p.difference))
                 from postmeter.proven_meter p
                 join postmeter.meter m on m.id = p.meter_id
                 join postmeter.destination t on t.id = m.destination_id
                 where p.difference operator(pg_catalog.<>) 0::pg_catalog.numeric order by p.meter_id limit 1),
                (select pg_catalog.format('meter %s is gone: %s', p.meter_id, pg_catalog.trim_scale(p.difference))
                 from postmeter.proven_meter p
                 where p.difference operator(pg_catalog.<>) 0::pg_catalog.numeric order by p.meter_id limit 1),
                (select o.example from postmeter.usage_open o order by o.first limit 1)) as example
