-- setback_locked: members of a batch that another session holds; the next round takes them last.
-- $1 step, $2 members, $3 per member its destination or null, $4 per member its org or null, $5 who holds them, if that is known.
insert into postmeter.setback as s (step, member, destination_id, org, skipped, holder)
select $1, g.member, g.destination_id, g.org, 1, $5
from unnest($2, $3, $4) g(member, destination_id, org)
order by g.member collate "C"
on conflict (step, member) do update
set skipped = s.skipped + 1, last_at = clock_timestamp(), holder = coalesce(excluded.holder, s.holder)
