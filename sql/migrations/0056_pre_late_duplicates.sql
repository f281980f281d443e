-- 0056_pre_late_duplicates: a duplicate that comes late and without a quantity is unconfirmed as one that comes in time is.
-- programs: from 0022
-- lock: share row exclusive on delivery, grows with its rows: a trigger, and what late evidence settled; few have any

-- late evidence settles what is unknown or held, too; a person who does so has looked it up, and reads no evidence
create or replace trigger unconfirmed after update on postmeter.delivery for each row
when (
    (old.status <> 'accepted' and new.status = 'accepted' and new.confirmed is false
     and (old.status in ('due', 'in_flight') or new.evidence_read > old.evidence_read))
    or (old.status = 'accepted' and old.confirmed is false and (new.status <> 'accepted' or new.confirmed is distinct from false))
)
execute function postmeter.keep_unconfirmed();

-- those that were passed over
insert into postmeter.unconfirmed (delivery_id)
select distinct d.id
from postmeter.late_evidence e
join postmeter.delivery d on d.id = e.delivery_id
where e.outcome = 'duplicate' and e.shown_quantity is null and e.id <= d.evidence_read
  and d.status = 'accepted' and d.confirmed is false and d.hour + interval '1 hour' <= postmeter.broken_at()
  and not exists (select from postmeter.decision c where c.delivery_id = d.id and c.verb = 'resolve')
on conflict do nothing;

insert into postmeter.migration (version, name) values (56, '0056_pre_late_duplicates');
