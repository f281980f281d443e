-- settle_write: writes outcomes and moves the deliveries whose outcome was first; what comes second is late evidence.
-- One array per column, an element per attempt: $1 attempts, $2 deliveries, $3 outcomes, $4 codes, $5 is_try, $6 shown
-- quantities as text, $7 retry after (ms), $8 receipts, $9 HTTP statuses, $10 their request ids, $11 excerpts,
-- $12 durations (ms), $13 next statuses (null: no claim of ours any more), $14 reasons, $15 maybe billed, $16 delays (ms;
-- null: at once), $17 batch limits, $18 deaths; $19 worker. Also tells where the server's history stands. Relies on outcome_pkey (the fence) and delivery_pkey.
with given as materialized (
    select g.*, (select postmeter.clock()) as now
    from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         g(attempt_id, delivery_id, outcome, code, is_try, shown, retry_ms, receipt, http_status, request_id, excerpt,
           duration_ms, status, reason, maybe_billed, delay_ms, batch_limit, deaths)
), fence as (
    insert into postmeter.outcome (attempt_id, outcome, code, is_try, shown_quantity, retry_after, receipt, http_status,
                                   their_request_id, excerpt, duration, recorded_at)
    select g.attempt_id, g.outcome, g.code, g.is_try, g.shown::numeric, g.retry_ms * interval '1 millisecond', g.receipt,
           g.http_status, g.request_id, g.excerpt, g.duration_ms * interval '1 millisecond', g.now
    from given g
    where g.status is not null
    order by g.attempt_id
    on conflict do nothing
    returning attempt_id
), evidence as (
    insert into postmeter.late_evidence (attempt_id, delivery_id, outcome, code, shown_quantity, receipt, http_status,
                                         their_request_id, excerpt, worker_id, recorded_at)
    select g.attempt_id, g.delivery_id, g.outcome, g.code, g.shown::numeric, g.receipt, g.http_status, g.request_id,
           g.excerpt, $19, g.now
    from given g
    where g.attempt_id not in (select f.attempt_id from fence f)
), moved as (
    update postmeter.delivery d
    set status = g.status, reason = g.reason, attempt_id = null, maybe_billed = g.maybe_billed,
        maybe_since = case when g.maybe_billed
                           then coalesce(d.maybe_since, (select a.claimed_at from postmeter.attempt a where a.id = g.attempt_id)) end,
        tries = d.tries + g.is_try::integer, deaths = g.deaths,
        batch_limit = case when g.status = 'due' then coalesce(g.batch_limit, d.batch_limit) end,
        confirmed = case when g.status = 'accepted' then g.outcome = 'accepted' or g.shown is not null end,
        shown_quantity = coalesce(g.shown::numeric, d.shown_quantity), changed_at = g.now
    from given g
    -- inside a case it is looked up by hash; a join would compare each with each, for nothing is known of either's size
    where case when g.attempt_id in (select f.attempt_id from fence f) then true end
      and d.id = g.delivery_id and d.attempt_id = g.attempt_id
    returning d.id, d.destination_id, d.deadline, d.status, g.delay_ms, g.now
), due_now as (
    insert into postmeter.due (delivery_id, destination_id, deadline)
    select m.id, m.destination_id, m.deadline from moved m where m.status = 'due' and m.delay_ms is null order by m.id
), due_later as (
    insert into postmeter.later (delivery_id, destination_id, due_at)
    select m.id, m.destination_id, m.now + m.delay_ms * interval '1 millisecond'
    from moved m where m.status = 'due' and m.delay_ms is not null order by m.id
)
select (select count(*) from moved) as moved, (select count(*) from given) as given,
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) as timeline, pg_current_wal_flush_lsn()::text as flushed,
       pg_postmaster_start_time() as server_started_at
