-- fold_pick_others: the same, where some entries are left out: those that were in the hands of a dying worker, those that
-- failed, and those of orgs that another session keeps. They are folded in rounds of their own.
-- Parameters as fold_pick. Relies on outbox_pkey, usage_pkey, suspect_pkey and setback_pkey.
select o.shard, o.id, o.place
from unnest($1, $2) with ordinality s(shard, floor, turn)
cross join lateral (
    select o.shard, o.id, o.ctid as place
    from postmeter.outbox o
    where o.shard = s.shard and o.id > s.floor
      and not exists (select from postmeter.suspect x where x.usage_id = o.id)
      and not exists (select from postmeter.setback b where b.step = 'fold' and b.member = o.id::text)
      and not exists (select from postmeter.setback b where b.step = 'fold' and b.member = 'org:' || o.org)
      -- a correction waits for the usage that it corrects
      and (o.corrects is null or not exists (
          select from postmeter.usage u
          where u.id = o.id
            and (exists (select from postmeter.suspect x where x.usage_id = u.corrected_id)
                 or exists (select from postmeter.setback b where b.step = 'fold' and b.member = u.corrected_id::text))))
    order by o.shard, o.id
    limit $3
    for update skip locked
) o
limit $4
