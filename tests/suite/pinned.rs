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

/// A login without a single grant, and the keys of every advisory lock that the schema ever took.
#[tokio::test]
async fn l1_a_login_without_a_grant_holds_up_nothing() {
    let stage = Stage::new().await;
    let called = stage
        .column(
            "select proname::text from pg_proc where pronamespace = 'postmeter'::regnamespace and prosrc ~ 'advisory'",
        )
        .await;
    assert_eq!(called, [""; 0], "an advisory lock is anybody's");
    let nobody = stage.db.connect().await;
    nobody
        .batch_execute(
            "do $$ begin perform pg_advisory_xact_lock(4712); if to_regrole('nobodys_login') is null then create role nobodys_login login; end if; end $$;
             set role nobodys_login;
             select pg_advisory_lock(hashtextextended('postmeter.' || name, 0))
             from unnest(array['closed_month', 'catalogue', 'gather_requests', 'create_partitions', 'create_request_partitions',
                               'make_alert_post', 'subscription 1']) name",
        )
        .await
        .unwrap();
    for table in ["gate", "closed_month", "outbox"] {
        for mode in ["access share", "row exclusive"] {
            let taken = nobody.batch_execute(&format!("begin; lock table postmeter.{table} in {mode} mode")).await;
            assert!(taken.is_err(), "{table} in {mode}");
            nobody.batch_execute("rollback").await.unwrap();
        }
    }
    stage.sql("set lock_timeout = '10s'").await;
    stage.subscribe("globex", "222233334444").await;
    stage.use_cores("one", "2", "2024-09-18T09:30:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 2"]);
    stage.sql("select postmeter.track('ingress', 'r', 'received')").await;
    assert_eq!(stage.value("select postmeter.gather_requests(10)::text").await, "1");
    stage.sql(crate::alerts::fired::NEXT_MONTH_IS_MISSING).await;
    assert_eq!(stage.value("select postmeter.create_partitions(1)::text").await, "1");
    stage.sql("select * from postmeter.close_month('aws', '2024-08-01', 'ada', 'books', false, true)").await;
    stage.close().await;
}

/// One does what a gate names, and the others know it at once or wait.
#[tokio::test]
async fn l1_a_gate_lets_one_pass_at_a_time() {
    let stage = Stage::bare().await;
    let (mut one, two) = (stage.db.connect().await, stage.db.connect().await);
    let passes =
        async || two.query_one("select postmeter.try_gate('make_alert_post')", &[]).await.unwrap().get::<_, bool>(0);
    let inside = one.transaction().await.unwrap();
    inside.batch_execute("select postmeter.take_gate('make_alert_post')").await.unwrap();
    assert!(!passes().await, "somebody is inside");
    inside.commit().await.unwrap();
    assert!(passes().await, "nobody is inside any more");
    // one that is made when it is first needed
    let inside = one.transaction().await.unwrap();
    inside.batch_execute("select postmeter.take_gate('subscription 99')").await.unwrap();
    two.batch_execute("set lock_timeout = '200ms'").await.unwrap();
    let waits = two.batch_execute("select postmeter.take_gate('subscription 99')").await.unwrap_err();
    assert_eq!(waits.code().unwrap().code(), "55P03");
    inside.commit().await.unwrap();
    two.batch_execute("select postmeter.take_gate('subscription 99')").await.unwrap();
}

/// Whoever records may have plans printed, with the values that their parameters hold.
#[tokio::test]
async fn l1_no_plan_that_a_producer_may_print_shows_what_others_recorded() {
    let stage = Stage::new().await;
    stage
        .sql(
            "select postmeter.record_usage('secret', '1', 'hidden-org', 'db', 'cores', 12345, '2024-09-18T09:30Z',
               attributes => '{\"deal\": \"topsecret\"}')",
        )
        .await;
    let url = stage.db.url();
    let said = tokio::task::spawn_blocking(move || {
        let calls = "set role postmeter_producer; set client_min_messages = log; set debug_print_plan = on; set debug_print_parse = on;
            select postmeter.record_usage('secret', '1', 'o', 'p', 'm', 1, '2024-09-18T09:30Z');
            select * from postmeter.record_usage_batch('[{\"source\": \"secret\", \"event_id\": \"1\", \"org\": \"o\", \"product\": \"p\",
                \"metric\": \"m\", \"quantity\": 1, \"used_at\": \"2024-09-18T09:30:00Z\"}]');
            select postmeter.record_usage('secret', '2', 'o', 'p', 'm', -1, '2024-09-18T09:30Z', corrects => '1')";
        let psql = postmeter::embedded::Binaries::find().expect("a server").program("psql");
        std::process::Command::new(psql).args(["-X", "-d", &url, "-c", calls]).output()
    });
    let Ok(said) = said.await.unwrap() else {
        return tests::skip("l1_no_plan_that_a_producer_may_print_shows_what_others_recorded", "psql is not installed");
    };
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains(":constvalue") && said.contains("recorded before with other content"),
        "plans are printed: {said:.300}"
    );
    for secret in ["hidden-org", "topsecret"] {
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        assert!(!said.contains(secret) && !said.contains(&bytes.join(" ")), "{secret} is in a plan");
    }
}

/// A database where the walk over [`UNPINNED`] has something to walk over.
#[tokio::test]
async fn l1_the_schema_files_pin_what_the_migrations_pin() {
    let loaded = TestDatabase::empty().await;
    loaded.client.batch_execute(&tests::schema_source()).await.unwrap();
    let rows = loaded.client.query(UNPINNED, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [""; 0]);
}
