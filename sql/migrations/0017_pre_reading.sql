-- 0017_pre_reading: what the HTTP door lists and no view showed yet, and the decision that a catalogue was applied.
-- programs: from 0017
-- lock: none

create view postmeter.meter_list as
select m.id as meter_id, t.name as destination, m.buyer, m.dimension, m.month, m.rounding, m.decimals, m.month_end,
       trim_scale(m.billed) as billed, trim_scale(m.carried) as carried, trim_scale(m.billable) as billable, m.denominator, m.cuts,
       c.closed_at
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month;
comment on view postmeter.meter_list is 'Every meter as it was last cut: how it rounds, what is billed, and what is carried (billing units x denominator).';

create view postmeter.held_list as
select h.usage_id, u.source, u.event_id, t.name as destination, h.reason, h.org, h.account, h.product, h.metric, h.quantity, u.used_at, h.hour,
       h.deadline, h.held_at
from postmeter.held h
join postmeter.usage u on u.id = h.usage_id
left join postmeter.destination t on t.id = h.destination_id;
comment on view postmeter.held_list is 'Usage that cannot be allocated yet, with the reason and the identity that its service knows it by.';

create function postmeter.sign_catalogue(who text, why text, detail jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.decision (who, why, verb, detail) values (who, why, 'apply', coalesce(detail, '{}')) returning id into made;
    return made;
end
$$;
comment on function postmeter.sign_catalogue(text, text, jsonb) is
    'Writes down who applied a catalogue and why, in the transaction that applies it. What it changed is in postmeter.catalogue_change.';

revoke execute on function postmeter.sign_catalogue(text, text, jsonb) from public;
grant execute on function postmeter.sign_catalogue(text, text, jsonb) to postmeter_operator;
grant select on postmeter.meter_list, postmeter.held_list to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (17, '0017_pre_reading');
