-- Imported exports: units, lists of columns, periods.

create table postmeter.import_unit (
    source  text collate "C" not null,
    product text collate "C" not null,
    metric  text collate "C" not null,
    unit    text collate "C" not null,
    primary key (source, product, metric)
);
comment on table postmeter.import_unit is
    'Which unit a metric of imported exports stands for: two units that differ in more than marks and case can '
    'have one tag (GB and Gb). Inserted by imports, with the first usage.';
comment on column postmeter.import_unit.source is 'The source of the usage.';
comment on column postmeter.import_unit.product is 'The product.';
comment on column postmeter.import_unit.metric is 'The metric: the tag of the unit.';
comment on column postmeter.import_unit.unit is
    'The unit that came first, as ConsumedUnit has it, with hyphens for all marks. Rows in another one are '
    'refused.';

create table postmeter.import_list (
    source text collate "C" not null check ((octet_length(source) >= 1) and (octet_length(source) <= 255)),
    list   text collate "C" not null check (octet_length(list) <= 255),
    primary key (source, list)
);
comment on table postmeter.import_list is
    'By which lists of identifying columns exports were imported into a source. A source that is not here was '
    'never looked at.';
comment on column postmeter.import_list.source is 'The source of the usage.';
comment on column postmeter.import_list.list is
    'What the event ids of this list begin with; empty: ids that an older version or something else gave.';

create table postmeter.import_period (
    org           text collate "C" not null,
    source        text collate "C" not null,
    list          text collate "C" not null,
    first_used_at timestamptz      not null,
    ends_at       timestamptz      not null,
    primary key (org, source, list)
);
comment on table postmeter.import_period is
    'From when until when usage of an org was imported from exports. What another list of columns says of that '
    'time may be the same usage, and is refused.';
comment on column postmeter.import_period.org is
    'The org, in lower case and without white space around it, as event ids take it.';
comment on column postmeter.import_period.source is 'The source of the usage.';
comment on column postmeter.import_period.list is 'By which list of columns, as in import_list.';
comment on column postmeter.import_period.first_used_at is 'When the first of it was used.';
comment on column postmeter.import_period.ends_at is
    'When the last charge period of it ends; where no end was given, just after its begin.';

create table postmeter.import_end (
    source   text collate "C" not null,
    event_id text collate "C" not null,
    ends_at  timestamptz      not null,
    primary key (source, event_id)
);
comment on table postmeter.import_end is
    'The end of a charge period that is another one now than its usage was recorded with: it still ran then, or it '
    'was taken back and recorded for another period.';
comment on column postmeter.import_end.source is 'The source of the usage.';
comment on column postmeter.import_end.event_id is 'The event id of the group: its first usage.';
comment on column postmeter.import_end.ends_at is 'When its charge period ends, as far as it is recorded.';
