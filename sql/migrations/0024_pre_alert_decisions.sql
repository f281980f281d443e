-- 0024_pre_alert_decisions: a rule of the alerts is changed by a decision, with who and why.
-- programs: from 0022
-- lock: access exclusive on decision, grows with its rows: its verbs get one more, and each row is checked

alter table postmeter.decision drop constraint decision_verb_check;
alter table postmeter.decision add constraint decision_verb_check
    check (verb in ('retry', 'release', 'write_off', 'hold', 'resolve', 'pause', 'resume', 'probe', 'close', 'reopen', 'apply',
                    'retain', 'export', 'drop', 'set_alert'));
comment on column postmeter.decision.verb is 'retry, release, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), retain (for how long the ledger is kept), export and drop (a month of the ledger), set_alert (a rule of the alerts).';
comment on column postmeter.decision_log.verb is 'retry, release, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue over HTTP), retain, export, drop, set_alert.';

create function postmeter.set_alert_rule(
    name text, who text, why text,
    severity text default null, every interval default null, patience interval default null, within interval default null,
    enabled boolean default null
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
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(name, array(select x.name from postmeter.alert_rule x))) || '?',
                                  'postmeter.alert_rule lists them.');
    end if;
    select string_agg(format('%s %s', c.field, c.old), ', ' order by c.field), string_agg(format('%s %s', c.field, c.new), ', ' order by c.field)
    into before, after
    from (values ('severity', r.severity, severity), ('every', r.every::text, every::text), ('patience', r.patience::text, patience::text),
                 ('within', r.within::text, within::text), ('enabled', r.enabled::text, enabled::text)) c(field, old, new)
    where c.new <> c.old;
    if after is null then
        return false;
    end if;
    begin
        update postmeter.alert_rule x
        set severity = coalesce(set_alert_rule.severity, x.severity), every = coalesce(set_alert_rule.every, x.every),
            patience = coalesce(set_alert_rule.patience, x.patience), within = coalesce(set_alert_rule.within, x.within),
            enabled = coalesce(set_alert_rule.enabled, x.enabled)
        where x.name = r.name;
    exception when check_violation then
        raise exception 'alert % cannot have %', quote_literal(name), after
            using errcode = 'PM037', constraint = 'alert_rule_value',
                  hint = 'severity is critical or warning, every at least 1 second, patience not negative, within up to 2 minutes.';
    end;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'set_alert', before, after, jsonb_build_object('alert', r.name));
    return true;
end
$$;
comment on function postmeter.set_alert_rule(text, text, text, text, interval, interval, interval, boolean) is 'Changes a rule of the alerts: how grave it is, how often it is looked at, how patient it is, how long a look may take, and whether there is one. What is null stays. Switching a rule off clears what is open of it. False: it was so already.';

revoke update (severity, every, patience, within, enabled) on postmeter.alert_rule from postmeter_operator;
revoke execute on function postmeter.set_alert_rule(text, text, text, text, interval, interval, interval, boolean) from public;
grant execute on function postmeter.set_alert_rule(text, text, text, text, interval, interval, interval, boolean) to postmeter_operator;

-- posts are the workers'; who marked one as delivered would silence what it says
revoke execute on function postmeter.make_alert_post(interval), postmeter.take_alert_post(interval), postmeter.settle_alert_post(bigint, integer, text)
    from postmeter_operator;

insert into postmeter.migration (version, name) values (24, '0024_pre_alert_decisions');
