-- fold_late_lock_free: locks the meters of late usage, and where it may go as a part or under another key of its contract,
-- as far as no other session keeps them; tells which have all that they need.
-- $1 meters. What fold_late_lock would make for a part is made by fold_meters before.
with wanted as (
    select m.id as meter, m.id as needed from postmeter.meter m where m.id = any ($1)
    union
    select m.id, r.id
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    cross join lateral postmeter.part_keys(m.id) p
    join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = p.buyer and r.dimension = m.dimension
                          and r.month = postmeter.month_of((select postmeter.clock()), t.zone)
    where m.id = any ($1) and t.late_policy = 'part'
    union
    select m.id, k.key_meter_id from unnest($1) m(id) cross join lateral postmeter.contract_keys(m.id) k
), locked as materialized (
    select l.id from postmeter.meter l where l.id in (select w.needed from wanted w) order by l.id for update skip locked
)
select w.meter from wanted w left join locked l on l.id = w.needed group by w.meter having bool_and(l.id is not null)
