-- 0022_pre_alerts: what an SRE must know, as rows that open and clear; and who stopped reporting.
-- programs: from 0022
-- lock: none

create table postmeter.alert_rule (
    name       text     not null primary key check (name ~ '^[a-z][a-z_]*$'),
    severity   text     not null check (severity in ('critical', 'warning')),
    every      interval not null check (every >= '1 second'),
    patience   interval not null check (patience >= '0'),
    within     interval not null default '10 seconds' check (within > '0' and within <= '2 minutes'),
    enabled    boolean  not null default true,
    checked_at timestamptz not null default '-infinity',
    failure    text,
    failing_since timestamptz,
    constraint alert_rule_fails check ((failure is null) = (failing_since is null))
) with (fillfactor = 50);
comment on table postmeter.alert_rule is 'The alerts there are: how often each is looked at, by whichever worker comes first. docs/operate/runbook.md has a section for each.';
comment on column postmeter.alert_rule.name is 'Its name; in the runbook and in Prometheus the same in CamelCase.';
comment on column postmeter.alert_rule.severity is 'critical: money or all work is in danger now; warning: a person should look today.';
comment on column postmeter.alert_rule.every is 'How often it is looked at, in real time.';
comment on column postmeter.alert_rule.patience is 'How long a thing may be so before it is an alert; what exactly is in the runbook.';
comment on column postmeter.alert_rule.within is 'How long looking may take; then it is given up and noted in failure.';
comment on column postmeter.alert_rule.enabled is 'False: nobody looks, and its open alerts are cleared.';
comment on column postmeter.alert_rule.checked_at is 'When somebody looked last, in real time.';
comment on column postmeter.alert_rule.failure is 'Why the last look was no whole look; its alerts stay as they were.';
comment on column postmeter.alert_rule.failing_since is 'Since when, in real time.';

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('usage_will_miss_deadline',  'critical', '1 minute',   '0',          '20 seconds'),
    ('outbox_oldest_entry',       'critical', '30 seconds', '15 minutes', '10 seconds'),
    ('held_without_subscription', 'warning',  '1 minute',   '1 hour',     '10 seconds'),
    ('conflict',                  'warning',  '30 seconds', '0',          '10 seconds'),
    ('unknown_unresolved',        'warning',  '30 seconds', '15 minutes', '10 seconds'),
    ('dead_letters',              'warning',  '1 minute',   '10 minutes', '10 seconds'),
    ('poison',                    'warning',  '30 seconds', '0',          '10 seconds'),
    ('breaker_open',              'warning',  '30 seconds', '5 minutes',  '10 seconds'),
    ('destination_paused',        'warning',  '1 minute',   '1 hour',     '10 seconds'),
    ('timeline_went_back',        'critical', '30 seconds', '0',          '10 seconds'),
    ('balance_not_zero',          'critical', '1 minute',   '0',          '10 seconds'),
    ('snapshot_pins_horizon',     'warning',  '30 seconds', '5 minutes',  '10 seconds'),
    ('partition_ahead_missing',   'warning',  '5 minutes',  '0',          '10 seconds'),
    ('no_worker_alive',           'critical', '30 seconds', '1 minute',   '10 seconds'),
    ('missing_hours',             'warning',  '10 minutes', '0',          '1 minute'),
    ('requests_never_finished',   'warning',  '1 minute',   '0',          '10 seconds'),
    ('key_stuck',                 'warning',  '30 seconds', '1 minute',   '10 seconds');

create table postmeter.alert (
    id           bigint generated always as identity primary key,
    name         text   not null references postmeter.alert_rule,
    subject      text   not null default '',
    severity     text   not null,
    opened_at    timestamptz not null default postmeter.clock(),
    last_seen_at timestamptz not null default postmeter.clock(),
    cleared_at   timestamptz,
    count        bigint not null check (count >= 1),
    summary      text   not null check (summary <> ''),
    details      jsonb  not null default '{}' check (jsonb_typeof(details) = 'object'),
    told_at      timestamptz,
    clear_told_at timestamptz,
    constraint alert_clear_told check (clear_told_at is null or cleared_at is not null)
) with (fillfactor = 50);
create unique index alert_open on postmeter.alert (name, subject) where cleared_at is null;
create index alert_cleared on postmeter.alert (cleared_at) where cleared_at is not null;
comment on table postmeter.alert is 'Alerts, open and cleared. One open row per name and subject: ten thousand stuck remittances of a destination are one alert that says 10,000. No evidence: cleared ones are forgotten after 90 days.';
comment on column postmeter.alert.id is 'Order of opening.';
comment on column postmeter.alert.name is 'Its rule.';
comment on column postmeter.alert.subject is 'What it is about, mostly a destination; empty: the whole.';
comment on column postmeter.alert.severity is 'As its rule said when it was opened.';
comment on column postmeter.alert.opened_at is 'When it was seen first.';
comment on column postmeter.alert.last_seen_at is 'When it was seen last.';
comment on column postmeter.alert.cleared_at is 'When it was not seen any more; null: it is open.';
comment on column postmeter.alert.count is 'How many things it is about, when it was seen last.';
comment on column postmeter.alert.summary is 'What is so, in a sentence.';
comment on column postmeter.alert.details is 'Up to five examples, and what else helps.';
comment on column postmeter.alert.told_at is 'When it was last put into a post to the webhook.';
comment on column postmeter.alert.clear_told_at is 'When a post said that it is cleared.';

create function postmeter.clear_disabled_alerts() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.alert a set cleared_at = postmeter.clock() where a.name = new.name and a.cleared_at is null;
    return null;
end
$$;
comment on function postmeter.clear_disabled_alerts() is 'Clears what is open of a rule that is switched off: nobody would look whether it is still so.';
create trigger clear_disabled after update of enabled on postmeter.alert_rule
    for each row when (old.enabled and not new.enabled) execute function postmeter.clear_disabled_alerts();

create table postmeter.alert_post (
    number      bigint generated always as identity primary key,
    id          uuid   not null unique default gen_random_uuid(),
    made_at     timestamptz not null default postmeter.clock(),
    body        text   not null,
    tries       integer not null default 0,
    next_at     timestamptz not null default '-infinity',
    posted_at   timestamptz,
    http_status integer,
    error       text,
    given_up_at timestamptz,
    constraint alert_post_ends check (posted_at is null or given_up_at is null)
) with (fillfactor = 50);
create index alert_post_waiting on postmeter.alert_post (number) where posted_at is null and given_up_at is null;
create index alert_post_given_up on postmeter.alert_post (given_up_at) where given_up_at is not null;
comment on table postmeter.alert_post is 'What is posted to the webhook for alerts: one post says everything that changed. A new one is made only when the last has arrived or was given up.';
comment on column postmeter.alert_post.number is 'Their order.';
comment on column postmeter.alert_post.id is 'The webhook''s id: the same at every try, so that a receiver can drop repetitions.';
comment on column postmeter.alert_post.made_at is 'When it was made.';
comment on column postmeter.alert_post.body is 'What is posted, to the letter.';
comment on column postmeter.alert_post.tries is 'How often it was sent.';
comment on column postmeter.alert_post.next_at is 'Real time before which nobody sends it again.';
comment on column postmeter.alert_post.posted_at is 'When the receiver answered 2xx; null: not yet.';
comment on column postmeter.alert_post.http_status is 'The last answer''s status.';
comment on column postmeter.alert_post.error is 'Why the last try failed.';
comment on column postmeter.alert_post.given_up_at is 'When it was given up: the receiver refused it three times, or did not take it for an hour. What it said is said anew by a later post.';

create function postmeter.counted(n bigint, thing text) returns text
language sql immutable parallel safe
as $$ select to_char(n, 'FM999,999,999,999,990') || ' ' || thing || case when n = 1 then '' else 's' end $$;
comment on function postmeter.counted(bigint, text) is 'A number of things as people say it: 1 remittance, 10,000 remittances.';

create function postmeter.take_alert_rule(names text[], always boolean)
returns table (name text, within_ms bigint)
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_rule r set checked_at = clock_timestamp()
    where r.name = (
        select x.name from postmeter.alert_rule x
        where x.name = any (names) and x.enabled and (always or x.checked_at + x.every <= clock_timestamp())
        order by x.checked_at, x.name limit 1 for update skip locked)
    returning r.name, (extract(epoch from r.within) * 1000)::bigint
$$;
comment on function postmeter.take_alert_rule(text[], boolean) is
    'Takes one of these rules whose time has come (or always) for this transaction to look at: whoever else comes meanwhile passes over it.';

create function postmeter.note_alerts(rule text, seen jsonb)
returns table (change text, subject text, severity text, count bigint, summary text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    now timestamptz := postmeter.clock();
    level text;
begin
    select r.severity into level from postmeter.alert_rule r where r.name = rule;
    return query
    update postmeter.alert a set cleared_at = now
    where a.name = rule and a.cleared_at is null
      and not exists (select from jsonb_to_recordset(note_alerts.seen) f(subject text) where f.subject = a.subject)
    returning 'cleared', a.subject, a.severity, a.count, a.summary;
    update postmeter.alert a set last_seen_at = now, count = f.count, summary = f.summary, details = f.details
    from jsonb_to_recordset(note_alerts.seen) f(subject text, count bigint, summary text, details jsonb)
    where a.name = rule and a.cleared_at is null and f.subject = a.subject;
    return query
    insert into postmeter.alert (name, subject, severity, opened_at, last_seen_at, count, summary, details)
    select rule, f.subject, level, now, now, f.count, f.summary, f.details
    from jsonb_to_recordset(note_alerts.seen) f(subject text, count bigint, summary text, details jsonb)
    order by f.subject
    on conflict (name, subject) where cleared_at is null do nothing
    returning 'opened', alert.subject, alert.severity, alert.count, alert.summary;
    delete from postmeter.alert a where a.cleared_at < now - interval '90 days';
    delete from postmeter.alert_post p where coalesce(p.posted_at, p.given_up_at) < now - interval '90 days';
end
$$;
comment on function postmeter.note_alerts(text, jsonb) is
    'Notes what a rule found: an array of subject, count, summary, details. Opens what is new, refreshes what is open, clears what is not there any more, and returns what it opened and cleared.';

create function postmeter.note_alert_failure(rule text, failure text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_rule r
    set failure = left(note_alert_failure.failure, 500),
        failing_since = case when note_alert_failure.failure is not null then coalesce(r.failing_since, clock_timestamp()) end
    where r.name = rule and (r.failure is not null or note_alert_failure.failure is not null)
$$;
comment on function postmeter.note_alert_failure(text, text) is 'Notes why a rule could not be looked at; null: it could. Its alerts stay as they were.';

create function postmeter.make_alert_post(repeat_after interval) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now  timestamptz := postmeter.clock();
    made uuid;
    ids  bigint[];
    news jsonb;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('postmeter.make_alert_post', 0))
       or exists (select from postmeter.alert_post p where p.posted_at is null and p.given_up_at is null)
       -- a receiver that refuses what it is told is not told the same again at once
       or exists (select from postmeter.alert_post p where p.given_up_at > now - interval '15 minutes') then
        return null;
    end if;
    with changes as (
        select a.*, case when a.cleared_at is not null then 'cleared' when a.told_at is null then 'opened' else 'open' end as change
        from postmeter.alert a
        where (a.cleared_at is null and (a.told_at is null or a.told_at <= now - repeat_after))
           -- also what opened and cleared while the last post was on its way
           or (a.clear_told_at is null and a.cleared_at > now - interval '7 days'
               and (a.told_at is not null or a.opened_at >= (select max(p.made_at) from postmeter.alert_post p)))
        order by a.severity, a.id
        -- one that was too large for the receiver is followed by smaller ones
        limit case when exists (select from postmeter.alert_post p where p.given_up_at > now - interval '1 day') then 20 else 200 end
    ), rows as (
        select c.change, c.id, jsonb_build_object('id', c.id, 'name', c.name, 'subject', c.subject, 'severity', c.severity,
                   'count', c.count, 'summary', c.summary, 'opened_at', c.opened_at, 'last_seen_at', c.last_seen_at,
                   'cleared_at', c.cleared_at, 'details', c.details) as alert
        from changes c
    )
    select array_agg(r.id),
           jsonb_build_object('opened', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'opened'), '[]'),
                              'open', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'open'), '[]'),
                              'cleared', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'cleared'), '[]'))
    into ids, news from rows r;
    if ids is null then
        return null;
    end if;
    insert into postmeter.alert_post (made_at, body)
    values (now, jsonb_build_object('type', 'postmeter.alerts', 'timestamp', now, 'data', news)::text)
    returning id into made;
    update postmeter.alert a set told_at = now, clear_told_at = case when a.cleared_at is not null then now end
    where a.id = any (ids);
    return made;
end
$$;
comment on function postmeter.make_alert_post(interval) is
    'Makes one post of all that is new: alerts opened, open for so long again since the last post, and cleared. Null: nothing is, or the last post has not arrived yet, or was given up a quarter of an hour ago.';

create function postmeter.take_alert_post(lease interval) returns table (number bigint, id uuid, body text, seconds bigint)
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_post p set tries = p.tries + 1, next_at = clock_timestamp() + lease
    where p.number = (select x.number from postmeter.alert_post x where x.posted_at is null and x.given_up_at is null
                      order by x.number limit 1 for update skip locked)
      and p.next_at <= clock_timestamp()
    returning p.number, p.id, p.body, extract(epoch from clock_timestamp())::bigint
$$;
comment on function postmeter.take_alert_post(interval) is
    'Takes the post that waits, for so long: a worker that dies with it leaves it to the next. With the real time in seconds, for its signature.';

create function postmeter.settle_alert_post(number bigint, http_status integer, error text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    told jsonb;
begin
    update postmeter.alert_post p
    set http_status = settle_alert_post.http_status, error = left(settle_alert_post.error, 500),
        posted_at = case when settle_alert_post.error is null then postmeter.clock() end,
        -- refused for what it is, or nobody is there: what waits behind it is newer, and must not wait for ever
        given_up_at = case when settle_alert_post.error is not null and p.tries >= 3
                            and (settle_alert_post.http_status between 400 and 499 and settle_alert_post.http_status not in (408, 429)
                                 or p.made_at < postmeter.clock() - interval '1 hour')
                           then postmeter.clock() end,
        next_at = clock_timestamp() + least(interval '15 minutes', interval '5 seconds' * 2 ^ least(p.tries - 1, 10))
    where p.number = settle_alert_post.number and p.posted_at is null and p.given_up_at is null
    returning case when p.given_up_at is not null then p.body::jsonb -> 'data' end into told;
    if told is not null then
        update postmeter.alert a
        set told_at = case when a.cleared_at is not null then a.told_at end, clear_told_at = null
        from jsonb_each(told) k cross join lateral jsonb_array_elements(k.value) t
        where a.id = (t ->> 'id')::bigint;
    end if;
end
$$;
comment on function postmeter.settle_alert_post(bigint, integer, text) is
    'Notes what the receiver answered: without an error it has arrived; else it is sent again after 5 seconds, 10, 20 and so on up to 15 minutes, until it is given up, and its alerts are told anew.';

create function postmeter.folded_until() returns timestamptz
language sql stable
as $$
    -- ids are made from the server's clock; the oldest entry of each shard is the first of its index
    select postmeter.clock() - coalesce(greatest(interval '0', clock_timestamp() - to_timestamp(
        min(('x' || translate(left(o.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0)), interval '0')
    from generate_series(0, 1023) n(shard)
    cross join lateral (select x.id from postmeter.outbox x where x.shard = n.shard and not x.returned order by x.id limit 1) o
$$;
comment on function postmeter.folded_until() is 'What was recorded before this moment is folded: the silence after it says nothing about whoever reports.';

create view postmeter.missing_hours as
with moment as materialized (
    select postmeter.clock() as now, postmeter.hour_of(postmeter.folded_until()) as until
), series as (
    select m.id as meter_id, mm.id as metric_id, t.name as destination, m.buyer, s.org, mm.product, mm.metric
    from moment c
    join postmeter.destination t on t.shadow_of is null
    join postmeter.meter m on m.destination_id = t.id and m.month >= date_trunc('month', (c.until - interval '31 days') at time zone t.zone)::date
    join postmeter.meter_metric mm on mm.meter_id = m.id
    join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = mm.product
     and s.valid_from <= c.now and (s.valid_until is null or s.valid_until > c.now)
    where not exists (select from postmeter.exemption e where e.org = s.org and (e.product is null or e.product = s.product)
                      and e.valid_from <= c.now and (e.valid_until is null or e.valid_until > c.now))
), last as (
    select k.meter_id, k.metric_id, k.destination, k.buyer, k.org, k.product, k.metric, l.hour
    from series k
    cross join lateral (
        select d.hour from postmeter.delivery d
        where d.meter_id = k.meter_id and exists (
            select from postmeter.allocation a join postmeter.subscription x on x.id = a.subscription_id
            where a.delivery_id = d.id and a.meter_metric_id = k.metric_id and x.org = k.org
            -- offset 0: remittances one by one from the latest back, and not all that the org ever used
            offset 0)
        order by d.hour desc limit 1
    ) l
), silent as (
    select l.destination, l.buyer, l.org, l.product, l.metric, array_agg(l.meter_id) as meters, array_agg(l.metric_id) as metrics,
           max(l.hour) as last_hour, c.until - max(l.hour) - interval '1 hour' as silent_for
    from last l, moment c
    group by l.destination, l.buyer, l.org, l.product, l.metric, c.until
    having max(l.hour) <= c.until - interval '4 hours'
), usual as (
    select s.destination, s.buyer, s.org, s.product, s.metric, s.last_hour, s.silent_for, w.hours, w.longest_gap, w.lag
    from silent s
    cross join lateral (
        select count(*) as hours, max(g.gap) as longest_gap, percentile_disc(0.9) within group (order by g.lag) as lag
        from (
            select h.lag, h.hour - lag(h.hour) over (order by h.hour) as gap
            from (
                select d.hour, min(greatest(d.opened_at - d.hour - interval '1 hour', interval '0')) as lag
                from unnest(s.meters, s.metrics) k(meter_id, metric_id)
                join postmeter.delivery d on d.meter_id = k.meter_id and d.hour > s.last_hour - interval '168 hours' and d.hour <= s.last_hour
                where exists (
                    select from postmeter.allocation a join postmeter.subscription x on x.id = a.subscription_id
                    where a.delivery_id = d.id and a.meter_metric_id = k.metric_id and x.org = s.org offset 0)
                group by d.hour
            ) h
        ) g
    ) w
    where w.hours >= 20
), judged as (
    select u.destination, u.buyer, u.org, u.product, u.metric, u.last_hour, u.silent_for, u.hours, u.longest_gap, u.lag,
           greatest(interval '3 hours', u.longest_gap * 1.5) + u.lag as bearable
    from usual u
)
select j.destination, j.buyer, j.org, j.product, j.metric, j.last_hour, j.silent_for, j.hours as hours_reported, j.longest_gap,
       j.lag as usual_lag, j.bearable
from judged j
where j.silent_for >= j.bearable
  and not exists (select from postmeter.held h where h.org = j.org and h.product = j.product and h.metric = j.metric and h.hour > j.last_hour);
comment on view postmeter.missing_hours is
    'Who reported regularly and stopped: an org''s metric with usage in at least 20 of the 168 hours up to its last, and none since, for longer than 3 hours and one and a half times its longest gap in that week, plus the lag with which it usually reports. Only while its subscription is in force and nothing exempts it; usage that is held or not folded yet is no silence. Live destinations, the last two months.';
comment on column postmeter.missing_hours.destination is 'Name of the destination.';
comment on column postmeter.missing_hours.buyer is 'The buyer in canonical text.';
comment on column postmeter.missing_hours.org is 'Who stopped reporting.';
comment on column postmeter.missing_hours.product is 'Our product.';
comment on column postmeter.missing_hours.metric is 'Our metric.';
comment on column postmeter.missing_hours.last_hour is 'The last hour with usage.';
comment on column postmeter.missing_hours.silent_for is 'How long nothing has come since that hour ended.';
comment on column postmeter.missing_hours.hours_reported is 'Hours with usage among the 168 up to the last one.';
comment on column postmeter.missing_hours.longest_gap is 'The longest time between two of them.';
comment on column postmeter.missing_hours.usual_lag is 'How long after an hour''s end its usage comes; nine in ten come sooner.';
comment on column postmeter.missing_hours.bearable is 'Silence up to this is usual.';

create view postmeter.alert_list as
select a.id, a.name, a.subject, a.severity, a.cleared_at is null as open, a.opened_at, a.last_seen_at, a.cleared_at, a.count, a.summary,
       a.details, a.told_at
from postmeter.alert a;
comment on view postmeter.alert_list is 'Alerts, open and cleared.';
comment on column postmeter.alert_list.id is 'Order of opening.';
comment on column postmeter.alert_list.name is 'Its rule.';
comment on column postmeter.alert_list.subject is 'What it is about, mostly a destination; empty: the whole.';
comment on column postmeter.alert_list.severity is 'critical or warning, as its rule said when it was opened.';
comment on column postmeter.alert_list.open is 'It has not cleared.';
comment on column postmeter.alert_list.opened_at is 'When it was seen first.';
comment on column postmeter.alert_list.last_seen_at is 'When it was seen last.';
comment on column postmeter.alert_list.cleared_at is 'When it was not seen any more.';
comment on column postmeter.alert_list.count is 'How many things it is about.';
comment on column postmeter.alert_list.summary is 'What is so, in a sentence.';
comment on column postmeter.alert_list.details is 'Up to five examples, and what else helps.';
comment on column postmeter.alert_list.told_at is 'When it was last put into a post to the webhook.';

revoke execute on function postmeter.counted(bigint, text), postmeter.take_alert_rule(text[], boolean), postmeter.note_alerts(text, jsonb),
    postmeter.note_alert_failure(text, text), postmeter.make_alert_post(interval), postmeter.take_alert_post(interval),
    postmeter.settle_alert_post(bigint, integer, text), postmeter.folded_until(), postmeter.clear_disabled_alerts() from public;
grant select on postmeter.alert_rule, postmeter.alert, postmeter.alert_post, postmeter.missing_hours, postmeter.alert_list
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.counted(bigint, text), postmeter.folded_until() to postmeter_reader, postmeter_operator, postmeter_worker;
-- the console looks whether any worker lives: they cannot
grant execute on function postmeter.take_alert_rule(text[], boolean), postmeter.note_alerts(text, jsonb), postmeter.note_alert_failure(text, text)
    to postmeter_worker, postmeter_operator, postmeter_console;
grant execute on function postmeter.make_alert_post(interval), postmeter.take_alert_post(interval), postmeter.settle_alert_post(bigint, integer, text)
    to postmeter_worker, postmeter_operator;
-- thresholds are the SRE's to set
grant update (severity, every, patience, within, enabled) on postmeter.alert_rule to postmeter_operator;

insert into postmeter.migration (version, name) values (22, '0022_pre_alerts');
