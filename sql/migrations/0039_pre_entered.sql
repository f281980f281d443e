-- 0039_pre_entered: when an entry came into the outbox, so that what comes back there is seen to wait too.
-- programs: from 0022
-- lock: access exclusive on outbox, for a moment: a column with a default that is worked out once

alter table postmeter.outbox add column entered_at timestamptz not null default now();
comment on column postmeter.outbox.entered_at is 'When it came into the outbox: recorded, or sent back from held. What a fold gives back keeps it. Producers have no grant on it.';

insert into postmeter.migration (version, name) values (39, '0039_pre_entered');
