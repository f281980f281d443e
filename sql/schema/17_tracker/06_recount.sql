-- Requests closed by a person, counted anew, and forgotten.

create table postmeter.request_recount (
    only_row boolean default true primary key check (only_row),
    words    bigint,
    next_id  bigint
) with (fillfactor=50);
comment on table postmeter.request_recount is
    'How far requests were looked through for outcomes that other words than today''s computed.';
comment on column postmeter.request_recount.only_row is 'Always true: there is one row.';
comment on column postmeter.request_recount.words is 'Today''s words when that began (postmeter.tracker_words()).';
comment on column postmeter.request_recount.next_id is
    'Requests with this number and lower ones are still to be looked at; null: all were.';

create function postmeter.forget_requests(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    lead      interval := (select s.tracker_lead_max from postmeter.setting s);
    horizon   timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC')
        from postmeter.setting s);
    forgotten integer;
    further   integer;
begin
    perform postmeter.take_gate('gather_requests');
    if exists (select from postmeter.request_news n where n.recorded_at < horizon) then
        return 0;
    end if;
    -- what was dated before its day had a partition
    perform set_config('postmeter.moves_statuses', 'on', true);
    with old as (
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date < horizon and d.recorded_at < horizon
        union all
        -- what is dated too far ahead retires by its recording
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date > postmeter.clock() + lead and d.recorded_at < horizon
        limit most
    ), gone as (
        delete from postmeter.request_status_default d using old o
        where d.request_key = o.request_key and d.date = o.date and d.digest = o.digest
        returning d.kind, d.message, d.date, d.recorded_at
    ), unsaid as (
        update postmeter.request_message_count c set n = c.n - g.n
        from (select x.message, x.kind, postmeter.hour_of(x.date) as hour,
            postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3, 4) g
        where c.message = g.message and c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    ), uncounted as (
        update postmeter.request_status_count c set n = c.n - g.n
        from (select x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour,
            count(*) as n
              from gone x group by 1, 2, 3) g
        where c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    )
    select count(*) into further from gone;
    perform set_config('postmeter.moves_statuses', 'off', true);
    with old as (
        select q.id from postmeter.request q
        where (q.last_date < horizon or q.last_date > postmeter.clock() + lead and q.last_recorded_at < horizon)
          and not exists (select from postmeter.request_status r where r.request_key = q.request_key
              and r.date <= q.last_date)
        order by q.last_date limit most
    ), gone as (
        delete from postmeter.request q using old o where q.id = o.id
            returning q.request_key, q.org, q.account, q.outcome, postmeter.hour_of(q.created_at) as hour
    ), silent as (
        delete from postmeter.request_unit u using gone g where u.request_key = g.request_key
    ), unawaited as (
        delete from postmeter.request_awaited u using gone g where u.request_key = g.request_key
    ), uncounted as (
        update postmeter.request_count c set n = c.n - g.n
        from (select x.org, x.account, x.outcome, x.hour, count(*) as n from gone x group by 1, 2, 3, 4) g
        where c.org = g.org and c.account = g.account and c.outcome = g.outcome and c.hour = g.hour
    ), fewer as (
        update postmeter.request_hour c set n = c.n - g.n
        from (select x.outcome, x.hour, count(*) as n from gone x group by 1, 2) g
        where c.outcome = g.outcome and c.hour = g.hour
    )
    select count(*) into forgotten from gone;
    delete from postmeter.request_heard c where c.slot < horizon;
    delete from postmeter.request_hour c where c.n = 0;
    delete from postmeter.request_count c where c.n = 0;
    delete from postmeter.request_status_count c where c.n = 0;
    delete from postmeter.request_message_count c where c.n = 0;
    return forgotten + further;
end
$$;
comment on function postmeter.forget_requests(integer) is
    'Removes requests, and statuses dated before any partition, that setting.tracker_retention has passed, at most '
    'so many of each; returns how many.';

create function postmeter.recount_requests(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    messages_max constant bigint := 10000;
    words_now bigint := postmeter.tracker_words();
    at_work   postmeter.request_recount;
    stale     text[];
    behind    bigint;
    seen      integer;
begin
    select * into at_work from postmeter.request_recount;
    if at_work.words = words_now and at_work.next_id is null then
        return 0;
    end if;
    perform postmeter.take_gate('gather_requests');
    select * into at_work from postmeter.request_recount;
    if at_work.words is distinct from words_now then
        at_work.next_id := 9223372036854775807;
    end if;
    if at_work.next_id is null then
        return 0;
    end if;
    -- so many requests, or so many messages, whatever comes first; one request is never too many
    select array_agg(b.request_key) filter (where b.words is distinct from words_now), min(b.id) - 1, count(*)
    into stale, behind, seen
    from (
        select a.*, sum(case when a.words is distinct from words_now then a.statuses
            else 0 end) over (order by a.id desc) as messages,
               row_number() over (order by a.id desc) as n
        from (select q.id, q.request_key, q.words, q.statuses from postmeter.request q
              where q.id <= at_work.next_id order by q.id desc limit most) a
    ) b
    where b.n = 1 or b.messages <= messages_max;
    update postmeter.request_recount set words = words_now, next_id = behind;
    begin
        perform postmeter.compute_requests('{}', '{}', '{}', '{}', coalesce(stale, '{}'));
    exception when others then
        if sqlstate !~ '^(22|23)' then
            raise;
        end if;
        -- one that cannot be computed keeps no other from it, and is computed when something is said of it
        for n in 1 .. cardinality(stale) loop
            begin
                perform postmeter.compute_requests('{}', '{}', '{}', '{}', stale[n:n]);
            exception when others then
                if sqlstate !~ '^(22|23)' then
                    raise;
                end if;
                raise warning 'request % could not be computed by the new words: %', stale[n], sqlerrm;
            end;
        end loop;
    end;
    return seen;
end
$$;
comment on function postmeter.recount_requests(integer) is
    'Looks through at most so many requests for outcomes that were computed by other words or rules than today''s, '
    'and computes those anew from their messages, about 10,000 of them at most; returns how many it looked at, 0 '
    'when all were. For workers, a batch at a time.';

create function postmeter.close_request(request_id text, who text, why text)
returns table (outcome text, changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    gather_most constant integer := 10000;
    q postmeter.request;
begin
    perform postmeter.check_decider(who, why);
    -- what was committed before is no later word; of a long queue the rest opens it again, which errs on the safe side
    for turn in 1 .. 5 loop
        exit when postmeter.gather_requests(gather_most) < gather_most;
    end loop;
    -- and nobody computes it meanwhile: whoever holds a row of request has passed this gate
    perform postmeter.take_gate('gather_requests');
    select * into q from postmeter.request x where x.request_key = postmeter.request_key_of(close_request.request_id);
    if q.id is null then
        raise exception 'nobody said anything about request %', coalesce(quote_literal(request_id), 'without an id')
            using errcode = 'PM033', column = 'request_id', constraint = 'request_exists';
    end if;
    if q.closed_at is null then
        update postmeter.request x set closed_at = postmeter.clock() where x.id = q.id;
        insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
        values (who, why, 'close', q.outcome, 'closed', jsonb_build_object('request', q.request_id));
    end if;
    return query select q.outcome, q.closed_at is null;
end
$$;
comment on function postmeter.close_request(text, text, text) is
    'A person closes a request: it is not unfinished any more, whatever its outcome, and leaves the alert; the '
    'next word about it opens it again. Returns its outcome, and false if it was closed already. Refuses a request '
    'about which nobody said anything (PM033).';
