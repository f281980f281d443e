-- measure_dead_letters: what needs a person, beside the deliveries that measure_deliveries counts: held usage beyond its
-- policy, stranded quantity, and contradictions. The names are those of the view.
select pg_catalog.jsonb_build_object('destination', coalesce(l.destination, ''), 'status', pg_catalog.replace(l.class, ' ', '_'), 'count', count(*))
from postmeter.dead_letter l
where l.class in ('held usage', 'stranded', 'contradiction')
group by l.destination, l.class
