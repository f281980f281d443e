-- 0030_pre_suspects: what a worker had in hand while it died folding is suspect, and nothing else; it is folded apart, in parts.
-- programs: from 0022
-- lock: none

create table postmeter.suspect_range (
    id     uuid primary key,
    since  timestamptz not null default clock_timestamp(),
    deaths integer not null default 0 check (deaths >= 0)
);
comment on table postmeter.suspect_range is 'Parts of the outbox that workers had in hand while they died folding. Each is folded apart from everything else, by whichever worker takes it; one that kills again is split, down to the entry to blame. A row goes when its part is through.';
comment on column postmeter.suspect_range.id is 'Drawn by chance.';
comment on column postmeter.suspect_range.since is 'Since when: the server''s time.';
comment on column postmeter.suspect_range.deaths is 'Workers that died with it, since it is one entry alone. After two that entry is held as poison.';

create table postmeter.suspect (
    usage_id uuid primary key,
    shard    smallint not null,
    range_id uuid not null
);
create index suspect_by_range on postmeter.suspect (range_id);
comment on table postmeter.suspect is 'Outbox entries that a worker had in hand while it died folding. The ordinary folds leave them out.';
comment on column postmeter.suspect.usage_id is 'The usage of the entry.';
comment on column postmeter.suspect.shard is 'The entry''s shard.';
comment on column postmeter.suspect.range_id is 'The part with which it is folded.';

comment on column postmeter.worker.folding is 'What it has in hand: per shard the first and the last entry of its fold (spans) and of its fold of what did not go through before (apart), or the suspect range (suspect). Null: it folds nothing.';

grant select on postmeter.suspect_range, postmeter.suspect to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert, update, delete on postmeter.suspect_range, postmeter.suspect to postmeter_worker;

insert into postmeter.migration (version, name) values (30, '0030_pre_suspects');
