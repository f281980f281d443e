-- 0013_pre_reconcile: what a marketplace says it holds of a day, beside what we hold as accepted.
-- programs: from 0013
-- lock: none

create table postmeter.reconciliation (
    id             bigint  generated always as identity primary key,
    destination_id integer not null,
    day            date    not null,
    asked_at       timestamptz not null default postmeter.clock(),
    who            text    not null check (who <> '')
);
create index reconciliation_by_day on postmeter.reconciliation (destination_id, day, id);
comment on table postmeter.reconciliation is 'A marketplace was asked what it holds of a day. The latest answer for a day counts.';
comment on column postmeter.reconciliation.id is 'Number of the question.';
comment on column postmeter.reconciliation.destination_id is 'Who was asked.';
comment on column postmeter.reconciliation.day is 'The day, in UTC: that is how fine marketplaces answer.';
comment on column postmeter.reconciliation.asked_at is 'When, on postmeter.clock().';
comment on column postmeter.reconciliation.who is 'Who asked.';

create table postmeter.reported (
    reconciliation_id bigint  not null references postmeter.reconciliation,
    buyer             text    not null,
    dimension         text    not null,
    state             text    not null,
    quantity          numeric not null,
    records           bigint  not null check (records >= 0),
    primary key (reconciliation_id, buyer, dimension, state)
);
comment on table postmeter.reported is 'What it answered: sums of the day per key and state, to the letter.';
comment on column postmeter.reported.reconciliation_id is 'Which question it answers.';
comment on column postmeter.reported.buyer is 'The buyer, in canonical form.';
comment on column postmeter.reported.dimension is 'Their name of the metric.';
comment on column postmeter.reported.state is 'Their word for how far they are with it.';
comment on column postmeter.reported.quantity is 'What they processed; where they have not, what was submitted.';
comment on column postmeter.reported.records is 'How many records that is.';
create trigger append_only before update or delete or truncate on postmeter.reconciliation
    for each statement execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.reported
    for each statement execute function postmeter.forbid_change();

create view postmeter.reconciled as
with latest as (
    select distinct on (r.destination_id, r.day) r.id, r.destination_id, r.day, r.asked_at
    from postmeter.reconciliation r order by r.destination_id, r.day, r.id desc
), theirs as (
    select l.id, x.buyer, x.dimension, sum(x.quantity) as quantity, sum(x.records) as records,
           string_agg(distinct x.state, ', ' order by x.state) as states
    from latest l join postmeter.reported x on x.reconciliation_id = l.id
    where x.state <> 'Rejected' group by 1, 2, 3
), ours as (
    select l.id, m.buyer, m.dimension, sum(coalesce(d.shown_quantity, d.quantity)) as quantity, count(*) as records
    from latest l
    join postmeter.meter m on m.destination_id = l.destination_id
    join postmeter.delivery d on d.meter_id = m.id and d.status = 'accepted'
     and d.hour >= l.day::timestamp at time zone 'UTC' and d.hour < (l.day + 1)::timestamp at time zone 'UTC'
    where m.month between date_trunc('month', l.day - 1)::date and date_trunc('month', l.day + 1)::date
    group by 1, 2, 3
)
select t.name as destination, l.day, coalesce(o.buyer, h.buyer) as buyer, coalesce(o.dimension, h.dimension) as dimension,
       trim_scale(o.quantity) as ours, o.records as our_records, trim_scale(h.quantity) as theirs, h.records as their_records, h.states,
       trim_scale(coalesce(h.quantity, 0) - coalesce(o.quantity, 0)) as difference,
       case when h.buyer is null then 'ours_alone' when o.buyer is null then 'theirs_alone'
            when h.quantity <> o.quantity then 'quantity' else 'equal' end as verdict, l.asked_at
from ours o
full join theirs h on h.id = o.id and h.buyer = o.buyer and h.dimension = o.dimension
join latest l on l.id = coalesce(o.id, h.id)
join postmeter.destination t on t.id = l.destination_id;
comment on view postmeter.reconciled is
    'The latest answer for each day that was asked about, beside what we hold as accepted. verdict: equal, quantity (the sums differ), ours_alone (they hold nothing of what we call accepted: it was lost there), theirs_alone (they hold what we do not call accepted: somebody else sent it, or an unknown was taken). What they rejected does not count as theirs. Nothing is ever sent because of it.';

grant select on postmeter.reconciliation, postmeter.reported, postmeter.reconciled to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert on postmeter.reconciliation, postmeter.reported to postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (13, '0013_pre_reconcile');
