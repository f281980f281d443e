-- deadline_done: puts down marks. Of whom something is behind, the mark stays; of whom nothing is, it awaits the end of every
-- transaction that may not have seen the change, and goes when nothing is behind then.
-- $1 marks.
with behind as materialized (
    select distinct b.destination_id, b.buyer from postmeter.deadlines_behind($1) b
), given as materialized (
    select c.id, b.buyer is not null as is_behind,
           b.buyer is null and coalesce(c.awaits <= pg_snapshot_xmin(pg_current_snapshot()), false) as is_over
    from postmeter.deadline_change c
    left join behind b on b.destination_id = c.destination_id and b.buyer = c.buyer
    where c.id = any ($1)
    order by c.id
    for update of c
), gone as (
    delete from postmeter.deadline_change c using given g where c.id = g.id and g.is_over
), kept as (
    update postmeter.deadline_change c
    set next_at = clock_timestamp(), awaits = case when not g.is_behind then pg_snapshot_xmax(pg_current_snapshot()) end
    from given g where c.id = g.id and not g.is_over
)
select count(*) as done from given g where not g.is_behind
