//! L1: nothing of ours is looked up on its caller's search_path.

use std::collections::BTreeSet;

use tests::{Stage, TestDatabase};

/// Functions of the schema that look names up when they are called: neither parsed when they were made, nor with a
/// search_path of their own. What a default, a generated column, a CHECK, a view, a trigger or a policy reaches of
/// other schemas than pg_catalog's comes too.
const UNPINNED: &str = "
    with reached as (
        select d.refobjid as oid
        from pg_depend d
        left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
        left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
        left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
        left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
        left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
        join pg_class c on c.oid in (r.ev_class, a.adrelid, k.conrelid, t.tgrelid, p.polrelid)
         and c.relnamespace = 'postmeter'::regnamespace
        where d.refclassid = 'pg_proc'::regclass
        union
        select p.oid from pg_proc p where p.pronamespace = 'postmeter'::regnamespace
    )
    select p.oid::regprocedure::text
    from reached x
    join pg_proc p on p.oid = x.oid
    join pg_language l on l.oid = p.prolang
    where p.pronamespace <> 'pg_catalog'::regnamespace
      and l.lanname not in ('internal', 'c')
      and p.prosqlbody is null
      and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
    order by 1";

#[tokio::test]
async fn l1_every_function_that_anybody_reaches_is_pinned() {
    let stage = Stage::bare().await;
    assert_eq!(stage.column(UNPINNED).await, [""; 0], "begin atomic, or set search_path = pg_catalog, pg_temp");
    // and the question finds what it asks for
    stage
        .sql(
            "create function public.loose() returns text language sql as $$ select 'x' $$;
             alter table postmeter.token alter column created_by set default public.loose();
             create function postmeter.loose() returns text language plpgsql as $$ begin return 'x'; end $$",
        )
        .await;
    let found: BTreeSet<String> = stage.column(UNPINNED).await.into_iter().collect();
    assert_eq!(found, BTreeSet::from(["loose()".to_owned(), "postmeter.loose()".to_owned()]));
}

/// A producer with a schema of its own puts in front of everything what `clock()` and `new_id()` call.
const SHADOWS: &str = "
    create role shadowing login in role postmeter_producer;
    create schema shadowing authorization shadowing;
    set role shadowing;
    create function shadowing.note() returns void language plpgsql as $$ begin
        raise exception 'fooled: runs as %', current_user; end $$;
    create function shadowing.clock_timestamp() returns timestamptz language plpgsql as $$ begin
        perform shadowing.note(); return pg_catalog.now(); end $$;
    create function shadowing.gen_random_uuid() returns uuid language sql as $$
        select 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid $$;
    create function shadowing.uuid_send(uuid) returns bytea language sql as $$
        select pg_catalog.decode(pg_catalog.repeat('ff', 16), 'hex') $$;
    create function shadowing.encode(bytea, text) returns text language sql as $$
        select 'ffffffff-ffff-ffff-ffff-ffffffffffff' $$;
    create function shadowing.plus(timestamptz, interval) returns timestamptz language plpgsql as $$ begin
        perform shadowing.note(); return $1; end $$;
    create operator shadowing.+ (leftarg = timestamptz, rightarg = interval, function = shadowing.plus);
    set search_path = shadowing, pg_catalog";

#[tokio::test]
async fn l1_a_producer_with_a_schema_of_its_own_becomes_nobody_else_and_chooses_no_id() {
    let stage = Stage::new().await;
    let producer = stage.db.connect().await;
    producer.batch_execute("drop role if exists shadowing").await.unwrap();
    producer.batch_execute(SHADOWS).await.unwrap();
    producer
        .batch_execute(
            "select postmeter.clock(), postmeter.new_id();
             insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             values ('s', 'plain', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z');
             select postmeter.record_usage('s', 'called', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z');
             select * from postmeter.record_usage_batch('[{\"source\": \"s\", \"event_id\": \"batch\", \"org\": \"acme\",
                \"product\": \"db\", \"metric\": \"cores\", \"quantity\": 1, \"used_at\": \"2024-09-18T09:30:00Z\"}]');
             select postmeter.track('ingress', 'r', 'received')",
        )
        .await
        .unwrap();
    let far = "select count(*)::text from postmeter.usage where postmeter.moment_of(id) not between now() - interval '1 hour' and now() + interval '1 hour'";
    assert_eq!(stage.value(far).await, "0", "ids are the database's");
    assert_eq!(stage.value("select count(*)::text from postmeter.usage").await, "3");
    producer.batch_execute("reset role; reset search_path; drop schema shadowing cascade; drop owned by shadowing; drop role shadowing").await.unwrap();
    stage.close().await;
}

/// A database where the walk over [`UNPINNED`] has something to walk over.
#[tokio::test]
async fn l1_the_schema_file_pins_what_the_migrations_pin() {
    let loaded = TestDatabase::empty().await;
    let schema = include_str!("../../sql/schema.sql");
    loaded.client.batch_execute(schema).await.unwrap();
    let rows = loaded.client.query(UNPINNED, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [""; 0]);
}
