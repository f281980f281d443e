-- Alerts: rules, what is open, and the posts that tell it.

create table postmeter.alert_rule (
    name          text collate "C" primary key check (name ~ '^[a-z][a-z_]*$'),
    severity      text             not null check (severity in ('critical', 'warning')),
    every         interval         not null check (every >= '00:00:01'),
    patience      interval         not null check (patience >= '00:00:00'),
    within        interval         not null default '00:00:10' check (within > '00:00:00' and within <= '00:02:00'),
    enabled       boolean          not null default true,
    checked_at    timestamptz      not null default '-infinity',
    failure       text,
    failing_since timestamptz,
    constraint alert_rule_fails check ((failure is null) = (failing_since is null))
) with (fillfactor=50);
comment on table postmeter.alert_rule is
    'The alerts there are: how often each is looked at, by whichever worker comes first. docs/operate/runbook.md '
    'has a section for each.';
comment on column postmeter.alert_rule.name is 'Its name; in the runbook and in Prometheus the same in CamelCase.';
comment on column postmeter.alert_rule.severity is
    'critical: money or all work is in danger now; warning: a person should look today.';
comment on column postmeter.alert_rule.every is 'How often it is looked at, in real time.';
comment on column postmeter.alert_rule.patience is
    'How long a thing may be so before it is an alert; what exactly is in the runbook.';
comment on column postmeter.alert_rule.within is 'How long looking may take; then it is given up and noted in failure.';
comment on column postmeter.alert_rule.enabled is 'False: nobody looks, and its open alerts are cleared.';
comment on column postmeter.alert_rule.checked_at is 'When somebody looked last, in real time.';
comment on column postmeter.alert_rule.failure is 'Why the last look was no whole look; its alerts stay as they were.';
comment on column postmeter.alert_rule.failing_since is 'Since when, in real time.';

create table postmeter.alert (
    id            bigint           generated always as identity primary key,
    name          text collate "C" not null references postmeter.alert_rule(name),
    subject       text collate "C" not null default '',
    severity      text             not null,
    opened_at     timestamptz      not null default postmeter.clock(),
    last_seen_at  timestamptz      not null default postmeter.clock(),
    cleared_at    timestamptz,
    count         bigint           not null check (count >= 1),
    summary       text             not null check (summary <> ''),
    details       jsonb            not null default '{}' check (jsonb_typeof(details) = 'object'),
    told_at       timestamptz,
    clear_told_at timestamptz,
    constraint alert_clear_told check (clear_told_at is null or cleared_at is not null)
) with (fillfactor=50);
create index alert_cleared on postmeter.alert (cleared_at) where cleared_at is not null;
create unique index alert_open on postmeter.alert (name, subject) where cleared_at is null;
comment on table postmeter.alert is
    'Alerts, open and cleared. One open row per name and subject: ten thousand stuck remittances of a destination '
    'are one alert that says 10,000. No evidence: cleared ones are forgotten after 90 days.';
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

create table postmeter.alert_post (
    number      bigint      generated always as identity primary key,
    id          uuid        not null default gen_random_uuid() unique,
    made_at     timestamptz not null default postmeter.clock(),
    body        text        not null,
    tries       integer     not null default 0,
    next_at     timestamptz not null default '-infinity',
    posted_at   timestamptz,
    http_status integer,
    error       text,
    given_up_at timestamptz,
    constraint alert_post_ends check (posted_at is null or given_up_at is null)
) with (fillfactor=50);
create index alert_post_waiting on postmeter.alert_post (number) where posted_at is null and given_up_at is null;
create index alert_post_given_up on postmeter.alert_post (given_up_at) where given_up_at is not null;
comment on table postmeter.alert_post is
    'What is posted to the webhook for alerts: one post says everything that changed. A new one is made only when '
    'the last has arrived or was given up.';
comment on column postmeter.alert_post.number is 'Their order.';
comment on column postmeter.alert_post.id is
    'The webhook''s id: the same at every try, so that a receiver can drop repetitions.';
comment on column postmeter.alert_post.made_at is 'When it was made.';
comment on column postmeter.alert_post.body is 'What is posted, to the letter.';
comment on column postmeter.alert_post.tries is 'How often it was sent.';
comment on column postmeter.alert_post.next_at is 'Real time before which nobody sends it again.';
comment on column postmeter.alert_post.posted_at is 'When the receiver answered 2xx; null: not yet.';
comment on column postmeter.alert_post.http_status is 'The last answer''s status.';
comment on column postmeter.alert_post.error is 'Why the last try failed.';
comment on column postmeter.alert_post.given_up_at is
    'When it was given up: the receiver refused it three times, or did not take it for an hour. What it said is '
    'said anew by a later post.';

create function postmeter.clear_disabled_alerts() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.alert a set cleared_at = postmeter.clock() where a.name = new.name and a.cleared_at is null;
    return null;
end
$$;
comment on function postmeter.clear_disabled_alerts() is
    'Clears what is open of a rule that is switched off: nobody would look whether it is still so.';
create trigger clear_disabled after update of enabled on postmeter.alert_rule
    for each row when (old.enabled and (not new.enabled)) execute function postmeter.clear_disabled_alerts();

create function postmeter.take_alert_rule(names text[], always boolean)
returns table (name text, within_ms bigint)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_rule r set checked_at = clock_timestamp()
    where r.name = (
        select x.name from postmeter.alert_rule x
        where x.name = any (names) and x.enabled and (always or x.checked_at + x.every <= clock_timestamp())
        order by x.checked_at, x.name limit 1 for update skip locked)
    returning r.name, (extract(epoch from r.within) * 1000)::bigint
$$;
comment on function postmeter.take_alert_rule(text[], boolean) is
    'Takes one of these rules whose time has come (or always) for this transaction to look at: whoever else comes '
    'meanwhile passes over it.';

create function postmeter.note_alerts(rule text, seen jsonb)
returns table (change text, subject text, severity text, count bigint, summary text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
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
    'Notes what a rule found: an array of subject, count, summary, details. Opens what is new, refreshes what is '
    'open, clears what is not there any more, and returns what it opened and cleared.';

create function postmeter.note_alert_failure(rule text, failure text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_rule r
    set failure = left(note_alert_failure.failure, 500),
        failing_since = case when note_alert_failure.failure is not null
            then coalesce(r.failing_since, clock_timestamp()) end
    where r.name = rule and (r.failure is not null or note_alert_failure.failure is not null)
$$;
comment on function postmeter.note_alert_failure(text, text) is
    'Notes why a rule could not be looked at; null: it could. Its alerts stay as they were.';

create function postmeter.make_alert_post(repeat_after interval) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now  timestamptz := postmeter.clock();
    made uuid;
    ids  bigint[];
    news jsonb;
begin
    if not postmeter.try_gate('make_alert_post')
       or exists (select from postmeter.alert_post p where p.posted_at is null and p.given_up_at is null)
       -- a receiver that refuses what it is told is not told the same again at once
       or exists (select from postmeter.alert_post p where p.given_up_at > now - interval '15 minutes') then
        return null;
    end if;
    with changes as (
        select a.*, case when a.cleared_at is not null then 'cleared' when a.told_at is null then 'opened'
            else 'open' end as change
        from postmeter.alert a
        where (a.cleared_at is null and (a.told_at is null or a.told_at <= now - repeat_after))
           -- also what opened and cleared while the last post was on its way
           or (a.clear_told_at is null and a.cleared_at > now - interval '7 days'
               and (a.told_at is not null or a.opened_at >= (select max(p.made_at) from postmeter.alert_post p)))
        order by a.severity, a.id
        -- one that was too large for the receiver is followed by smaller ones
        limit case when exists (select from postmeter.alert_post p where p.given_up_at > now - interval '1 day') then 20
            else 200 end
    ), rows as (
        select c.change, c.id, jsonb_build_object('id', c.id, 'name', c.name, 'subject', c.subject, 'severity',
            c.severity,
                   'count', c.count, 'summary', c.summary, 'opened_at', c.opened_at, 'last_seen_at', c.last_seen_at,
                   'cleared_at', c.cleared_at, 'details', c.details) as alert
        from changes c
    )
    select array_agg(r.id),
           jsonb_build_object('opened', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'opened'),
               '[]'),
                              'open', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'open'), '[]'),
                              'cleared', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'cleared'),
                                  '[]'))
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
    'Makes one post of all that is new: alerts opened, open for so long again since the last post, and cleared. '
    'Null: nothing is, or the last post has not arrived yet, or was given up a quarter of an hour ago.';

create function postmeter.take_alert_post(lease interval)
returns table (number bigint, id uuid, body text, seconds bigint)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.alert_post p set tries = p.tries + 1, next_at = clock_timestamp() + lease
    where p.number = (select x.number from postmeter.alert_post x where x.posted_at is null and x.given_up_at is null
                      order by x.number limit 1 for update skip locked)
      and p.next_at <= clock_timestamp()
    returning p.number, p.id, p.body, extract(epoch from clock_timestamp())::bigint
$$;
comment on function postmeter.take_alert_post(interval) is
    'Takes the post that waits, for so long: a worker that dies with it leaves it to the next. With the real time '
    'in seconds, for its signature.';

create function postmeter.settle_alert_post(number bigint, http_status integer, error text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    told jsonb;
begin
    update postmeter.alert_post p
    set http_status = settle_alert_post.http_status, error = left(settle_alert_post.error, 500),
        posted_at = case when settle_alert_post.error is null then postmeter.clock() end,
        -- refused for what it is, or nobody is there: what waits behind it is newer, and must not wait for ever
        given_up_at = case when settle_alert_post.error is not null and p.tries >= 3
                            and (settle_alert_post.http_status between 400 and 499
                                and settle_alert_post.http_status not in (408, 429)
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
    'Notes what the receiver answered: without an error it has arrived; else it is sent again after 5 seconds, 10, '
    '20 and so on up to 15 minutes, until it is given up, and its alerts are told anew.';

create function postmeter.folded_until() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- ids are made from the server's clock; the oldest entry of each shard is the first of its index
    select postmeter.clock() - coalesce(greatest(interval '0', clock_timestamp() - to_timestamp(
        min(('x' || translate(left(o.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0)), interval '0')
    from generate_series(0, 1023) n(shard)
    cross join lateral (select x.id from postmeter.outbox x where x.shard = n.shard and not x.returned
        order by x.id limit 1) o
$$;
comment on function postmeter.folded_until() is
    'What was recorded before this moment is folded: the silence after it says nothing about whoever reports.';

create function postmeter.set_alert_rule(
    name text, who text, why text, severity text default null, every interval default null,
    patience interval default null, within interval default null, enabled boolean default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r      postmeter.alert_rule;
    before text;
    after  text;
begin
    perform postmeter.check_decider(who, why);
    select x.* into r from postmeter.alert_rule x where x.name = set_alert_rule.name for update;
    if not found then
        raise exception 'there is no alert %', coalesce(quote_literal(name), 'without a name')
            using errcode = 'PM033', column = 'name', constraint = 'alert_rule_exists',
                  hint = coalesce('Did you mean '
                      || quote_literal(postmeter.nearest(name, array(select x.name from postmeter.alert_rule x)))
                      || '?',
                                  'postmeter.alert_rule lists them.');
    end if;
    select string_agg(format('%s %s', c.field, c.old), ', ' order by c.field),
        string_agg(format('%s %s', c.field, c.new), ', ' order by c.field)
    into before, after
    from (values ('severity', r.severity, severity), ('every', r.every::text, every::text),
        ('patience', r.patience::text, patience::text),
                 ('within', r.within::text, within::text), ('enabled', r.enabled::text, enabled::text)) c(field, old,
                     new)
    where c.new <> c.old;
    if after is null then
        return false;
    end if;
    begin
        update postmeter.alert_rule x
        set severity = coalesce(set_alert_rule.severity, x.severity), every = coalesce(set_alert_rule.every, x.every),
            patience = coalesce(set_alert_rule.patience, x.patience),
                within = coalesce(set_alert_rule.within, x.within),
            enabled = coalesce(set_alert_rule.enabled, x.enabled)
        where x.name = r.name;
    exception when check_violation then
        raise exception 'alert % cannot have %', quote_literal(name), after
            using errcode = 'PM037', constraint = 'alert_rule_value',
                  hint
                      = 'severity is critical or warning, every at least 1 second, patience not negative, within up '
                          'to 2 minutes.';
    end;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'set_alert', before, after, jsonb_build_object('alert', r.name));
    return true;
end
$$;
comment on function postmeter.set_alert_rule(text, text, text, text, interval, interval, interval, boolean) is
    'Changes a rule of the alerts: how grave it is, how often it is looked at, how patient it is, how long a look '
    'may take, and whether there is one. What is null stays. Switching a rule off clears what is open of it. '
    'False: it was so already.';
