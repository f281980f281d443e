-- Who may come in over HTTP, and answers that are given once.

create table postmeter.token (
    id         bigint           generated always as identity primary key,
    name       text collate "C" not null unique check (name <> '' and (octet_length(name) <= 100)),
    hash       bytea            not null unique check (octet_length(hash) = 32),
    scopes     text[]           not null
        check ((scopes <@ array['intake', 'read', 'operate']) and (cardinality(scopes) > 0)),
    org        text             check ((octet_length(org) >= 1) and (octet_length(org) <= 255)),
    created_at timestamptz      not null default postmeter.clock(),
    created_by text             not null check (created_by <> ''),
    revoked_at timestamptz,
    revoked_by text,
    constraint token_check check ((revoked_at is null) = (revoked_by is null)),
    -- what an operator does touches every org: a quota, a destination, a month
    constraint operate_is_for_all_orgs check (org is null or (not ('operate' = any (scopes))))
);
comment on table postmeter.token is
    'Who may come in over HTTP. A token itself is shown once, when it is made; only its hash is kept.';
comment on column postmeter.token.id is 'Number.';
comment on column postmeter.token.name is 'Name of the caller: what decisions are signed with.';
comment on column postmeter.token.hash is
    'SHA-256 of the token. A token is 256 random bits: no salt is needed, nor a slow hash.';
comment on column postmeter.token.scopes is
    'What it may do: intake (record usage and request statuses), read, operate (decide, and read).';
comment on column postmeter.token.org is 'If set: it records and reads this org only.';
comment on column postmeter.token.created_at is 'When it was made.';
comment on column postmeter.token.created_by is 'Who made it.';
comment on column postmeter.token.revoked_at is 'When it was revoked; a console forgets it within seconds.';
comment on column postmeter.token.revoked_by is 'Who revoked it.';

create table postmeter.idempotency (
    caller      text collate "C" not null,
    key         text collate "C" not null check ((octet_length(key) >= 1) and (octet_length(key) <= 255)),
    fingerprint bytea            not null,
    status      integer          not null,
    answer      text             not null,
    answered_at timestamptz      not null default postmeter.clock(),
    primary key (caller, key)
);
create index idempotency_by_age on postmeter.idempotency (answered_at);
comment on table postmeter.idempotency is
    'Answers given to requests that carried an Idempotency-Key, written in the transaction that did the work: the '
    'same key and body is answered the same again. Kept for a day.';
comment on column postmeter.idempotency.caller is 'Name of the token: keys of different callers never meet.';
comment on column postmeter.idempotency.key is 'The key that the caller chose.';
comment on column postmeter.idempotency.fingerprint is 'SHA-256 of method, path, content type and body.';
comment on column postmeter.idempotency.status is 'HTTP status that was answered.';
comment on column postmeter.idempotency.answer is 'Body that was answered.';
comment on column postmeter.idempotency.answered_at is 'When.';

create function postmeter.create_token(name text, hash bytea, scopes text[], org text, who text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
begin
    if scopes is null or not scopes <@ array['intake', 'read', 'operate'] or cardinality(scopes) = 0 then
        raise exception 'scopes must be one or more of intake, read, operate'
            using errcode = 'PM001', column = 'scopes', constraint = 'token_scopes';
    elsif org is not null and 'operate' = any (scopes) then
        raise exception 'a token with the scope operate cannot be limited to one org: what operators do touches all'
            using errcode = 'PM001', column = 'org', constraint = 'operate_is_for_all_orgs';
    elsif exists (select from postmeter.token t where t.name = create_token.name) then
        raise exception 'there is a token % already; a name is never given twice, so that decisions stay signed',
            quote_literal(name)
            using errcode = 'PM001', column = 'name', constraint = 'token_name';
    end if;
    insert into postmeter.token (name, hash, scopes, org, created_by)
    values (create_token.name, create_token.hash, create_token.scopes, create_token.org, who)
    returning id into made;
    return made;
end
$$;
comment on function postmeter.create_token(text, bytea, text[], text, text) is
    'Keeps a new token by its hash. Refuses unknown scopes, a second token of the same name, and an operator''s '
    'token for one org (PM001).';

create function postmeter.revoke_token(name text, who text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    found_token postmeter.token;
begin
    select * into found_token from postmeter.token t where t.name = revoke_token.name for update;
    if not found then
        raise exception 'there is no token %', quote_literal(name) using errcode = 'PM033', column = 'name',
            constraint = 'token_exists';
    end if;
    update postmeter.token t set revoked_at = postmeter.clock(), revoked_by = who where t.id = found_token.id
        and t.revoked_at is null;
    return found_token.revoked_at is null;
end
$$;
comment on function postmeter.revoke_token(text, text) is 'Revokes a token, for ever; false if it was revoked before.';

create function postmeter.forget_answers() returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with old as (
        select i.caller, i.key from postmeter.idempotency i
        where i.answered_at < postmeter.clock() - interval '1 day'
        limit 10000
        for update skip locked
    ), forgotten as (
        delete from postmeter.idempotency i using old where i.caller = old.caller and i.key = old.key returning 1
    )
    select count(*) from forgotten
$$;
comment on function postmeter.forget_answers() is
    'Deletes answers to idempotency keys that are older than a day, some at a time. The identity of usage '
    'remembers longer.';

create function postmeter.last_remittance(delivery bigint) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with recursive way (delivery_id, steps) as (
        select delivery, 0
        union all
        select (select c.target_delivery_id from postmeter.decision c
                where c.delivery_id = w.delivery_id and c.verb = 'release' order by c.id desc limit 1), w.steps + 1
        from way w join postmeter.delivery d on d.id = w.delivery_id
        where d.status = 'released' and w.steps < 100
    )
    select w.delivery_id from way w where w.delivery_id is not null order by w.steps desc limit 1
$$;
comment on function postmeter.last_remittance(bigint) is
    'Where the quantity of a remittance is now: releases are followed to the remittance that it came to.';
