-- fold_pick_org: locks entries of one org to be folded apart from the others, the oldest first.
-- $1 org, $2 at most so many, $3 the entry behind which to look. Relies on outbox_pkey, usage_pkey, suspect_pkey and setback_pkey.
select o.shard, o.id, o.ctid as place
from postmeter.outbox o
where o.shard = (hashtextextended($1, 0) & 1023)::smallint and o.org = $1 and o.id > $3
  and not exists (select from postmeter.suspect x where x.usage_id = o.id)
  and not exists (select from postmeter.setback b where b.step = 'fold' and b.member = o.id::text)
  -- a correction waits for the usage that it corrects
  and (o.corrects is null or not exists (
      select from postmeter.usage u
      where u.id = o.id
        and (exists (select from postmeter.suspect x where x.usage_id = u.corrected_id)
             or exists (select from postmeter.setback b where b.step = 'fold' and b.member = u.corrected_id::text))))
order by o.shard, o.id
limit $2
for update skip locked
