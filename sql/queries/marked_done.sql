-- marked_done: puts down marks of which nothing seems left. What is behind all the same, or unread, stays; else the mark awaits the end
-- of every transaction that may not have seen the change, and goes when nothing is behind then.
-- $1 marks.
with behind as materialized (
    select distinct m.destination_id, m.buyer
    from postmeter.marked_usage($1, null, false) u
    join postmeter.delivery d on d.id = u.delivery_id
    join postmeter.meter m on m.id = d.meter_id
), exempt as materialized (
    select distinct x.exemption_id from postmeter.marked_exempt($1) x
), given as materialized (
    select c.id, b.buyer is not null or postmeter.mark_is_unread(c)
                 or coalesce(c.exemption_id in (select x.exemption_id from exempt x), false) as is_behind, c.awaits is null as is_new,
           coalesce(c.awaits <= pg_snapshot_xmin(pg_current_snapshot()), false) as is_over
    from postmeter.catalogue_mark c
    left join behind b on b.destination_id = c.destination_id and b.buyer = c.buyer
    where c.id = any ($1)
    order by c.id
    for update of c
), gone as (
    delete from postmeter.catalogue_mark c using given g where c.id = g.id and g.is_over and not g.is_behind
), kept as (
    update postmeter.catalogue_mark c
    set next_at = clock_timestamp(), awaits = case when not g.is_behind then pg_snapshot_xmax(pg_current_snapshot()) end
    from given g where c.id = g.id and (g.is_behind or not g.is_over)
)
select count(*) as done from given g where not g.is_behind and (g.is_over or g.is_new)
