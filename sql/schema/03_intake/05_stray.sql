-- Outbox entries that came around intake.

create function postmeter.resolve_stray(stray bigint, record boolean, who text, why text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s        postmeter.stray_entry;
    e        postmeter.outbox;
    recorded uuid;
    decided  bigint;
begin
    perform postmeter.check_decider(who, why);
    select * into s from postmeter.stray_entry x where x.id = stray for update;
    if s.id is null then
        raise exception 'there is no stray entry %', stray
            using errcode = 'PM033', column = 'stray', constraint = 'stray_exists';
    elsif s.decision_id is not null then
        raise exception 'stray entry % was resolved before: decision %', stray, s.decision_id
            using errcode = 'PM033', column = 'stray', constraint = 'stray_open';
    end if;
    if record then
        e := jsonb_populate_record(null::postmeter.outbox, s.entry);
        recorded := postmeter.record_usage(e.source, e.event_id, e.org, e.product, e.metric, e.quantity, e.used_at,
                                           e.account, e.corrects, e.request_id, e.traceparent, e.attributes);
    end if;
    insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, detail)
    values (who, why, 'resolve', coalesce(recorded, s.usage_id), s.reason,
            case when record then 'recorded' else 'dropped' end,
            jsonb_build_object('stray', stray, 'source', s.entry -> 'source', 'event_id', s.entry -> 'event_id'))
    returning id into decided;
    update postmeter.stray_entry x set decision_id = decided where x.id = stray;
    return recorded;
end
$$;
comment on function postmeter.resolve_stray(bigint, boolean, text, text) is
    'A person resolves a stray entry. record: it is usage; it comes in through intake under its own source and '
    'event id (recorded before: that usage stands, nothing is added). Else nothing of it is billed. Returns the '
    'usage.';

create function postmeter.stray_reason(entry postmeter.outbox) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    u postmeter.usage;
begin
    select * into u from postmeter.usage x where x.id = entry.id;
    if u.id is null then
        return 'without_usage';
    elsif (u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects)
          is distinct from (entry.source, entry.event_id, entry.org, entry.product, entry.metric, entry.quantity,
                            entry.used_at, entry.account, entry.corrects) then
        return 'other_content';
    elsif exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                  where a.usage_id = u.id and t.shadow_of is null)
          or exists (select from postmeter.held h where h.usage_id = u.id)
          or exists (select from postmeter.exempted e where e.usage_id = u.id)
          or exists (select from postmeter.usage_written_off w where w.usage_id = u.id) then
        return 'accounted_for';
    end if;
    return null;
end
$$;
comment on function postmeter.stray_reason(postmeter.outbox) is
    'Why this outbox entry must not be folded: no usage stands behind it, or its usage is accounted for already. '
    'Null: it may be.';
