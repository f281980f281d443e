-- 0032_pre_evidence: whose fault a refusal is, and how fast a quota is taken, as the whole fleet has seen it.
-- programs: from 0022
-- lock: share row exclusive on destination, for a moment: a foreign key to it
-- lock: share row exclusive on quota, for a moment: a foreign key to it
-- lock: access exclusive on breaker, for a moment: columns without a default

-- refusals that may be about one buyer or about the credential ---------------------------------------------------------

create table postmeter.refusal (
    destination_id integer     not null references postmeter.destination on delete cascade,
    buyer          text collate "C" not null,
    delivery_id    bigint      not null,
    code           text        not null,
    http_status    integer,
    alone          integer     not null check (alone >= 0),
    since          timestamptz not null default clock_timestamp(),
    refused_at     timestamptz not null default clock_timestamp(),
    refused_id     uuid        not null,
    passed_at      timestamptz,
    judged_at      timestamptz,
    primary key (destination_id, buyer),
    constraint refusal_judged check (judged_at is null or alone > 0)
) with (fillfactor = 50);
comment on table postmeter.refusal is 'Buyers whose calls were refused in words that may be about one of them or about the credential (a 403). What others are answered after it says whose fault it is. A buyer that is accepted has no row. Its times are real times.';
comment on column postmeter.refusal.destination_id is 'The destination.';
comment on column postmeter.refusal.buyer is 'The buyer, as in meter.buyer.';
comment on column postmeter.refusal.delivery_id is 'The remittance that was refused last.';
comment on column postmeter.refusal.code is 'Their word for it.';
comment on column postmeter.refusal.http_status is 'The HTTP status.';
comment on column postmeter.refusal.alone is 'How often it was refused in a call of its own; 0: only together with others. From the first time on it is sent alone.';
comment on column postmeter.refusal.since is 'When it was refused first.';
comment on column postmeter.refusal.refused_at is 'When it was refused last.';
comment on column postmeter.refusal.refused_id is 'Attempts with later ids were claimed after the refusal that others must pass after.';
comment on column postmeter.refusal.passed_at is 'When another buyer was accepted by a call that was claimed after it: the credential may bill.';
comment on column postmeter.refusal.judged_at is 'When it was found to be this buyer''s own: refused alone, with others passing. Its remittance is held since.';

create view postmeter.refused_buyer as
select t.name as destination, r.buyer, r.code, r.http_status, r.alone as refusals, r.since, r.refused_at, r.delivery_id,
       case when r.judged_at is not null then 'buyer'
            when (select count(*) from postmeter.refusal o
                  where o.destination_id = r.destination_id and o.alone > 0 and o.passed_at is null and o.judged_at is null) >= 3
            then 'credential' else 'unknown' end as to_blame,
       r.judged_at
from postmeter.refusal r
join postmeter.destination t on t.id = r.destination_id
join postmeter.delivery d on d.id = r.delivery_id
-- what is over for its remittance says nothing any more, nor what others have passed after
where r.alone > 0 and d.status in ('due', 'in_flight', 'held') and (r.judged_at is not null or r.passed_at is null or d.status <> 'held');
comment on view postmeter.refused_buyer is 'Buyers that were refused in a call of their own, and whose fault it is: the buyer''s (others passed after it), the credential''s (three were refused and none has passed since), or unknown as yet. Times are real times.';

comment on column postmeter.refused_buyer.destination is 'The destination.';
comment on column postmeter.refused_buyer.buyer is 'The buyer, as the marketplace knows it.';
comment on column postmeter.refused_buyer.code is 'Their word for it.';
comment on column postmeter.refused_buyer.http_status is 'The HTTP status.';
comment on column postmeter.refused_buyer.refusals is 'How often in a call of its own.';
comment on column postmeter.refused_buyer.since is 'When it was refused first.';
comment on column postmeter.refused_buyer.refused_at is 'When it was refused last.';
comment on column postmeter.refused_buyer.delivery_id is 'The remittance that was refused last.';
comment on column postmeter.refused_buyer.to_blame is 'buyer, credential or unknown.';
comment on column postmeter.refused_buyer.judged_at is 'When it was found to be the buyer''s own fault.';

-- the pace of a quota ---------------------------------------------------------------------------------------------------

create table postmeter.pace (
    quota_id        integer          not null primary key references postmeter.quota on delete cascade,
    wait_until      timestamptz      not null default '-infinity',
    rate            double precision check (rate > 0),
    base            double precision not null default 0 check (base between 0 and 1),
    trial_rate      double precision check (trial_rate > 0),
    trial_share     double precision check (trial_share between 0 and 1),
    epoch_at        timestamptz      not null default clock_timestamp(),
    epoch_calls     double precision not null default 0,
    epoch_faults    double precision not null default 0,
    window_at       timestamptz      not null default clock_timestamp(),
    window_calls    double precision not null default 0,
    window_passed   double precision not null default 0,
    before_seconds  double precision not null default 0,
    before_calls    double precision not null default 0,
    before_passed   double precision not null default 0,
    updated_at      timestamptz      not null default clock_timestamp(),
    constraint pace_trial check ((trial_rate is null) = (trial_share is null))
) with (fillfactor = 50);
comment on table postmeter.pace is 'How fast a quota is taken by what its calls were answered: throttling and server errors slow the whole fleet down, and trip nothing. A quota that never met any has no row. Its times are real times.';
comment on column postmeter.pace.quota_id is 'The quota.';
comment on column postmeter.pace.wait_until is 'No call starts before: the server said so (Retry-After).';
comment on column postmeter.pace.rate is 'Calls a second at most, below what the quota allows; null: as the quota says.';
comment on column postmeter.pace.base is 'The share of calls that fail whatever the pace: slowing down for these would only lose time.';
comment on column postmeter.pace.trial_rate is 'The pace before it was last lowered, until it is known whether that helped.';
comment on column postmeter.pace.trial_share is 'The share of calls that failed at that pace.';
comment on column postmeter.pace.epoch_at is 'Since when calls are counted for the next change.';
comment on column postmeter.pace.epoch_calls is 'Calls answered since.';
comment on column postmeter.pace.epoch_faults is 'Of these, throttled or answered by a server error.';
comment on column postmeter.pace.window_at is 'Begin of the running ten seconds.';
comment on column postmeter.pace.window_calls is 'Calls answered in them.';
comment on column postmeter.pace.window_passed is 'Of these, with a record accepted.';
comment on column postmeter.pace.before_seconds is 'How long the ten seconds before were.';
comment on column postmeter.pace.before_calls is 'Calls answered in the ten seconds before.';
comment on column postmeter.pace.before_passed is 'Of these, with a record accepted.';
comment on column postmeter.pace.updated_at is 'When a worker last wrote this row.';

-- the probe begins where the last one ended ------------------------------------------------------------------------------

alter table postmeter.breaker add column probed_deadline timestamptz, add column probed_delivery bigint;
comment on column postmeter.breaker.probed_deadline is 'Deadline of the remittance that the last failed probe took: the next one takes another, behind it.';
comment on column postmeter.breaker.probed_delivery is 'That remittance.';

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('buyer_refused', 'warning', '15 seconds', '0', '10 seconds');

grant select on postmeter.refusal, postmeter.refused_buyer, postmeter.pace to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert, update, delete on postmeter.refusal, postmeter.pace to postmeter_worker;

insert into postmeter.migration (version, name) values (32, '0032_pre_evidence');
