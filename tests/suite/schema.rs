//! The schema as a DBA finds it: whole, commented, planned as promised.

use std::path::PathBuf;

use tests::TestDatabase;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(directory: &str, ending: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Everything that makes a schema, one line each, columns with their place; monthly and daily partitions are left out, they depend on the date.
const FINGERPRINT: &str = "
    with tables as (
        select c.* from pg_class c where c.relnamespace = 'postmeter'::regnamespace and c.relname !~ '_([0-9]{6}|[0-9]{8})(_|$)'
    ), lines as (
        select 'column ' || c.relname || '.' || a.attname || ' '
               || (select count(*) from pg_attribute b
                   where b.attrelid = a.attrelid and b.attnum between 1 and a.attnum and not b.attisdropped)
               || ' ' || a.attstorage::text || a.attcompression::text || coalesce(nullif(a.attstattarget, -1), 0)
               || coalesce(' ' || a.attcollation::regcollation, '') || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
               || ' ' || a.attidentity::text || a.attgenerated::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' '
               || coalesce(a.attacl::text, '') as line
        from tables c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where c.relkind in ('r', 'p', 'v')
        union all
        select 'table ' || c.relname || ' ' || c.relkind::text || ' ' || coalesce((select string_agg(x, ',' order by x) from unnest(coalesce(c.relacl, acldefault('r', c.relowner))::text[]) x), '')
               || coalesce(c.reloptions::text, '')
        from tables c where c.relkind in ('r', 'p', 'v')
        union all
        select 'constraint ' || c.relname || ' ' || k.conname || ' ' || replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')
        -- one that was added to rows that were there need not have looked at them;
        -- 18 has a constraint for what a column's line says: that it is not null
        from tables c join pg_constraint k on k.conrelid = c.oid and k.contype <> 'n'
        union all
        select 'statistics ' || pg_get_statisticsobjdef(x.oid)
        from pg_statistic_ext x where x.stxnamespace = 'postmeter'::regnamespace
        union all
        select 'sequence ' || q.seqrelid::regclass || ' ' || concat_ws(' ', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqcache, q.seqcycle)
        from pg_sequence q join pg_class c on c.oid = q.seqrelid where c.relnamespace = 'postmeter'::regnamespace
        union all
        select 'default privileges ' || d.defaclobjtype::text || ' ' || d.defaclacl::text from pg_default_acl d
        where d.defaclnamespace = 'postmeter'::regnamespace
        union all
        select 'schema ' || n.nspacl::text || ' ' || coalesce(obj_description(n.oid, 'pg_namespace'), '')
        from pg_namespace n where n.nspname = 'postmeter'
        union all
        select 'comment ' || t.tgrelid::regclass || ' ' || t.tgname || ' ' || d.description
        from tables c join pg_trigger t on t.tgrelid = c.oid
        join pg_description d on d.objoid = t.oid and d.classoid = 'pg_trigger'::regclass
        union all
        select 'index ' || pg_get_indexdef(c.oid) from tables c where c.relkind in ('i', 'I')
        union all
        select 'view ' || c.relname || ' ' || pg_get_viewdef(c.oid) from tables c where c.relkind = 'v'
        union all
        select 'trigger ' || pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text from tables c join pg_trigger t on t.tgrelid = c.oid where not t.tgisinternal
        union all
        select 'function ' || p.oid::regprocedure || ' ' || case when p.prokind = 'a' then '' else
               -- neither comments nor line breaks count, nor how a literal is continued
               regexp_replace(regexp_replace(regexp_replace(pg_get_functiondef(p.oid), '(^|\\s)--\\s[^\\n]*', '', 'g'),
                                             '''\\s*\\n\\s*''', '', 'g'), '\\s+', '', 'g') end
               || coalesce((select string_agg(x, ',' order by x) from unnest(p.proacl::text[]) x), '')
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace
        union all
        select 'comment ' || c.relname || '.' || d.objsubid || ' ' || d.description
        from tables c join pg_description d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass
        union all
        select 'comment ' || p.oid::regprocedure || ' ' || d.description
        from pg_proc p join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass
        where p.pronamespace = 'postmeter'::regnamespace
    )
    select line from lines order by line";

async fn fingerprint(database: &TestDatabase) -> Vec<String> {
    let mut lines = Vec::new();
    for asked in [FINGERPRINT, ROWS] {
        lines.extend(database.client.query(asked, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    lines
}

/// The rows that belong to the schema, without times.
const ROWS: &str = "
    select 'row of ' || r.line as line from (
        select 'setting ' || s::text as line from postmeter.setting s
        union all select 'gate ' || g::text from postmeter.gate g
        union all select 'alert_rule ' || a::text from postmeter.alert_rule a
        union all select 'installation ' || i::text from postmeter.installation i
        union all select 'request_floor ' || f::text from postmeter.request_floor f
        union all select 'request_recount ' || c::text from postmeter.request_recount c
        union all select 'balance_check ' || count(*) from postmeter.balance_check
        union all select 'identity_generation ' || count(*) from postmeter.identity_generation
    ) r order by 1";

/// Tables that have rows before anything was recorded; `migration` says how a database came about.
const FILLED: [&str; 9] = [
    "alert_rule",
    "balance_check",
    "gate",
    "identity_generation",
    "installation",
    "migration",
    "request_floor",
    "request_recount",
    "setting",
];

#[tokio::test]
async fn sql_schema_equals_the_migrations() {
    let migrated = TestDatabase::empty().await;
    outbox::migrate::apply(&migrated.database).await.unwrap();
    let loaded = TestDatabase::empty().await;
    for path in tests::schema_files() {
        let source = std::fs::read_to_string(&path).unwrap();
        let loading = loaded.client.batch_execute(&source).await;
        loading.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
    let (left, right) = (fingerprint(&migrated).await, fingerprint(&loaded).await);
    let missing =
        left.iter().filter(|line| !right.contains(line)).map(|line| format!("only in the migrations: {line}"));
    let added = right.iter().filter(|line| !left.contains(line)).map(|line| format!("only in sql/schema: {line}"));
    let lines: Vec<_> = missing.chain(added).collect();
    let shown = lines.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(lines.is_empty(), "sql/schema is written by hand, and {} lines differ:\n{shown}", lines.len());
}

#[tokio::test]
async fn rows_that_belong_to_the_schema_are_compared() {
    let database = TestDatabase::empty().await;
    outbox::migrate::apply(&database.database).await.unwrap();
    let tables = "select c.relname::text from pg_class c
                  where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
                  order by 1";
    let mut filled = Vec::new();
    for row in database.client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let asked = format!("select exists (select from postmeter.{table})");
        if database.client.query_one(&asked, &[]).await.unwrap().get(0) {
            filled.push(table);
        }
    }
    assert_eq!(filled, FILLED, "ROWS compares what these tables hold");
}

#[tokio::test]
async fn every_object_has_a_comment() {
    let database = TestDatabase::fresh().await;
    let bare = "
        select c.relname || coalesce('.' || a.attname, '') from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not c.relispartition
        where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p', 'v')
          and col_description(c.oid, coalesce(a.attnum, 0)) is null
          and (a.attnum is not null or obj_description(c.oid, 'pg_class') is null)
        union all
        select c.relname from pg_class c where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p', 'v') and obj_description(c.oid, 'pg_class') is null
        union all
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'postmeter'::regnamespace and obj_description(p.oid, 'pg_proc') is null";
    let rows = database.client.query(bare, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(names.is_empty(), "without COMMENT ON: {names:?}");
}

#[tokio::test]
async fn every_query_is_labelled_used_and_fits_the_schema() {
    let database = TestDatabase::fresh().await;
    let version: i32 =
        database.client.query_one("select current_setting('server_version_num')::integer", &[]).await.unwrap().get(0);
    let mut code = String::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for (name, sql) in files("sql/queries", ".sql") {
        assert!(sql.starts_with(&format!("-- {name}: ")), "{name}.sql does not begin with its name and what it is for");
        assert!(code.contains(&format!("\"{name}\"")), "nobody uses {name}.sql");
        // what an older server lacks is asked of later ones only, and says so
        if version < 150_000 && sql.lines().next().is_some_and(|head| head.ends_with("PostgreSQL 15 and later.")) {
            continue;
        }
        if let Err(error) = database.client.prepare(&sql).await {
            let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
            assert!(
                message.contains("could not determine data type") || message.contains("unnest(unknown)"),
                "{name}.sql: {message}"
            );
        }
    }
}

#[tokio::test]
async fn migrations_apply_once_and_a_foreign_one_is_refused() {
    let database = TestDatabase::empty().await;
    let applied = outbox::migrate::apply(&database.database).await.unwrap();
    assert_eq!(applied.len(), outbox::migrate::MIGRATIONS.len());
    assert!(outbox::migrate::apply(&database.database).await.unwrap().is_empty());
    outbox::migrate::check(&database.database).await.unwrap();
    database
        .client
        .execute("insert into postmeter.migration (version, name) values (9999, '9999_pre_future')", &[])
        .await
        .unwrap();
    let refused = outbox::migrate::check(&database.database).await.unwrap_err().to_string();
    assert!(refused.contains("9999_pre_future") && refused.contains("does not know"), "{refused}");
}

#[tokio::test]
async fn l1_who_keeps_migrations_waiting_is_told() {
    let database = TestDatabase::fresh().await;
    let holder = database.connect().await;
    holder.batch_execute("select pg_advisory_lock(x'706f73746d657465'::bigint)").await.unwrap();
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let mut migrate =
        tests::postmeter(&database.url()).arg("migrate").stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(migrate.stderr.take().unwrap()));
    let said =
        tokio::task::spawn_blocking(move || lines.find(|line| line.as_ref().is_ok_and(|l| l.contains("waits for"))));
    let said = tokio::time::timeout(std::time::Duration::from_secs(60), said).await.expect("it says who").unwrap();
    let said = said.expect("a line").unwrap();
    assert!(said.contains(&format!("session {pid} of postgres")), "{said}");
    holder.batch_execute("select pg_advisory_unlock_all()").await.unwrap();
    assert!(tests::end_of(&mut migrate).success());
}

#[tokio::test]
async fn two_migrators_at_once_apply_each_migration_once() {
    let database = TestDatabase::empty().await;
    let other = database.another();
    let (one, two) = tokio::join!(outbox::migrate::apply(&database.database), outbox::migrate::apply(&other));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), outbox::migrate::MIGRATIONS.len());
}

/// Indexed texts that are in the order of a language: an upgrade of the system's collations breaks their indexes until
/// they are made anew (`postmeter doctor` says so), and none of them is unique.
const IN_A_LANGUAGES_ORDER: [(&str, &str); 6] = [
    ("dropped_sum.org", "people sort by orgs"),
    ("exemption.org", "people sort by orgs"),
    ("held.org", "people sort by orgs"),
    ("ledger_carry.org", "people sort by orgs"),
    ("shadow_usage.org", "people sort by orgs"),
    ("subscription.org", "people sort by orgs"),
];

#[tokio::test]
async fn l2_keys_are_compared_by_their_bytes() {
    let database = TestDatabase::fresh().await;
    let indexed = "
        select c.relname || '.' || a.attname, bool_or(x.indisunique)
        from pg_index x join pg_class c on c.oid = x.indrelid join pg_attribute a on a.attrelid = c.oid and a.attnum = any(x.indkey)
        where c.relnamespace = 'postmeter'::regnamespace and a.attcollation not in (0, 'pg_catalog.\"C\"'::regcollation)
          and c.relname !~ '_([0-9]{6}|[0-9]{8})$'
        group by 1 order by 1";
    let rows = database.client.query(indexed, &[]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(found, IN_A_LANGUAGES_ORDER.map(|(column, _)| column), "a key is text collate \"C\"");
    assert!(!rows.iter().any(|row| row.get(1)), "a unique index is never in a language's order");
}

#[tokio::test]
async fn l2_functions_set_nothing_that_only_a_superuser_may() {
    let database = TestDatabase::fresh().await;
    // a parameter of ours has no definition: an ordinary owner is refused, while a function sets it by set_config
    let own = "select p.proname from pg_proc p, unnest(p.proconfig) c
               where p.pronamespace = 'postmeter'::regnamespace and split_part(c, '=', 1) like '%.%'";
    assert!(database.client.query(own, &[]).await.unwrap().is_empty(), "postmeter migrate needs no superuser");
}
