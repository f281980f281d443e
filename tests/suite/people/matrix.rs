//! I3: every role tries everything on every table and function; what it was told is `roles.txt`, to be read.

use std::path::Path;

use tests::TestDatabase;

const ROLES: [&str; 6] = ["producer", "worker", "operator", "reader", "console", "migrator"];

/// Tries a statement in a role and takes it back; the SQLSTATE and message, or `ok`. The role looks names up in a
/// hostile schema before all others; what that answered is kept in `fooled`.
const TRY: &str = "
    create temp table fooled (role text, sql text, told text);
    create function pg_temp.try(role text, sql text) returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
        execute format('set local role %I', role);
        perform set_config('search_path', 'hostile, pg_catalog', true);
        execute sql;
        raise exception 'taken back' using errcode = 'P9999';
    exception when others then
        if sqlerrm like 'FOOLED%' then
            insert into fooled values (role, sql, sqlerrm);
        end if;
        return case when sqlstate = 'P9999' then 'ok' else sqlstate || ' ' || sqlerrm end;
    end
    $$;
    -- S I U D T as allowed, u where only some columns may be changed, ! where a trigger refuses the owner too, - denied
    -- what cannot be done to a view by anybody is denied like what nobody may
    create function pg_temp.is_denied(told text) returns boolean language sql as $$
        select left(told, 5) in ('42501', '42809', '428C9', '55000', '0A000')
    $$;
    create function pg_temp.may(role text, relation text) returns text language plpgsql as $$
    declare
        told text;
        answer text := '';
        verb record;
        changed integer;
        columns integer;
    begin
        for verb in select * from (values ('S', 'select from %s limit 0'), ('I', 'insert into %s default values'),
                                          ('U', ''), ('D', 'delete from %s where false'), ('T', 'truncate %s')) v(letter, sql) loop
            if verb.letter = 'U' then
                select count(*) filter (where not pg_temp.is_denied(t.told)), count(*), min(t.told) filter (where not pg_temp.is_denied(t.told))
                into changed, columns, told
                from (select pg_temp.try(role, format('update %s set %I = null where false', relation, a.attname)) as told
                      from pg_attribute a
                      where a.attrelid = relation::regclass and a.attnum > 0 and a.attgenerated = '' and a.attidentity = '') t;
                answer := answer || case when changed = 0 then '-' when told like 'PM020%' then '!'
                                         when changed < columns then 'u' else 'U' end;
            else
                told := pg_temp.try(role, format(verb.sql, relation));
                answer := answer || case when pg_temp.is_denied(told) then '-' when told like 'PM020%' then '!' else verb.letter end;
            end if;
        end loop;
        return answer;
    end
    $$;";

async fn rows(db: &TestDatabase, sql: &str) -> Vec<(String, String)> {
    let rows = db.client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Tables and views; of partitions those that are always there.
const RELATIONS: &str = "select c.relname::text, c.oid::regclass::text from pg_class c
    where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname !~ '_[0-9]{6,8}$'
    order by c.relkind = 'v', c.relname";

/// Functions but those of triggers, with a call that names no argument's value.
const FUNCTIONS: &str = "
    select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
           -- not constants: a strict function of null would be left out by the planner, unasked
           (select format('select postmeter.%I(%s) from (select %s offset 0) x', p.proname, string_agg('x.a' || t.place, ', ' order by t.place),
                          string_agg(format('null::%s.%I as a%s', y.typnamespace::regnamespace, y.typname, t.place), ', ' order by t.place))
            from unnest(p.proargtypes) with ordinality t(type, place) join pg_type y on y.oid = t.type)
    from pg_proc p
    where p.pronamespace = 'postmeter'::regnamespace and p.prorettype <> 'trigger'::regtype
    order by 1";

async fn matrix(db: &TestDatabase) -> String {
    tests::hostile(&db.client).await;
    db.client.batch_execute(TRY).await.unwrap();
    let owner: String = db.client.query_one("select current_user::text", &[]).await.unwrap().get(0);
    let mut text = "# What each role may do, as it was told when it tried. S select, I insert, U update (u: some columns), D delete,\n\
                    # T truncate; - denied; ! a trigger refuses it, to the owner of the table too. Written by POSTMETER_BLESS=roles.\n\n"
        .to_owned();
    text += &format!("{:<28}", "table or view");
    for role in ROLES.iter().chain(&["owner"]) {
        text += &format!(" {role:<8}");
    }
    text += "\n";
    for (name, relation) in rows(db, RELATIONS).await {
        let mut line = format!("{name:<28}");
        for role in ROLES.iter().map(|role| format!("postmeter_{role}")).chain([owner.clone()]) {
            let may = db.client.query_one("select pg_temp.may($1, $2)", &[&role, &relation]).await.unwrap();
            line += &format!(" {:<8}", may.get::<_, String>(0));
        }
        text += &format!("{}\n", line.trim_end());
    }
    text += "\n# Functions, and who may call them (besides the owner).\n\n";
    for (name, call) in rows(db, FUNCTIONS).await {
        let function = name.split('(').next().unwrap_or_default();
        let denied = format!("permission denied for function {function}");
        let mut may = Vec::new();
        for role in ROLES {
            let role_name = format!("postmeter_{role}");
            let told = db.client.query_one("select pg_temp.try($1, $2)", &[&role_name, &call]).await.unwrap();
            let told: String = told.get(0);
            if !told.contains(&denied)
                && !told.contains("permission denied for schema")
                && !told.contains("permission denied for aggregate")
            {
                may.push(role);
            }
        }
        text += &format!("{name}: {}\n", if may.is_empty() { "nobody".to_owned() } else { may.join(", ") });
    }
    for (name, relation) in rows(db, RELATIONS).await {
        for role in ["reader", "operator", "worker"] {
            let (role, all) = (format!("postmeter_{role}"), format!("select * from {relation}"));
            let told: String = db.client.query_one("select pg_temp.try($1, $2)", &[&role, &all]).await.unwrap().get(0);
            assert!(told == "ok" || told.starts_with("42501"), "{role} reads {name}: {told}");
        }
    }
    let fooled = rows(db, "select distinct role || ': ' || sql, told from fooled").await;
    assert!(fooled.is_empty(), "{fooled:#?}");
    // and the ground is one on which names do fool
    let naive = "select pg_temp.try('postmeter_reader', 'select upper(''x'')'), pg_temp.try('postmeter_reader', 'select now()')";
    let naive = rows(db, naive).await;
    assert!(naive[0].1.contains("FOOLED"), "{naive:?}");
    text
}

#[tokio::test]
async fn i3_every_role_may_do_what_is_written_down_and_nothing_else() {
    let db = TestDatabase::fresh().await;
    let there = matrix(&db).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/people/roles.txt");
    if std::env::var("POSTMETER_BLESS").is_ok_and(|what| what == "roles") {
        std::fs::write(&path, &there).unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap();
    let differs: Vec<_> = there.lines().filter(|line| !promised.lines().any(|known| known == *line)).collect();
    let gone: Vec<_> = promised.lines().filter(|line| !there.lines().any(|known| known == *line)).collect();
    assert!(
        differs.is_empty() && gone.is_empty(),
        "tried: {differs:#?}\nbut written down: {gone:#?}\nIf it is meant: POSTMETER_BLESS=roles."
    );
}

#[tokio::test]
async fn i3_the_ledger_can_be_changed_by_nobody_whatever_is_granted() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/people/roles.txt")).unwrap();
    for table in [
        "attempt",
        "attempt_default",
        "outcome",
        "outcome_default",
        "usage",
        "allocation",
        "cut",
        "decision",
        "late_evidence",
    ] {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(table)).expect(table);
        for (role, may) in ROLES.iter().chain(&["owner"]).zip(line.split_whitespace().skip(1)) {
            assert!(may.chars().skip(2).all(|letter| letter == '-' || letter == '!'), "{role} on {table}: {may}");
        }
    }
    let producer = |line: &&str| line.split_whitespace().nth(1) != Some("-----") && !line.starts_with('#');
    let table = text.split("\n\n").nth(1).expect("the tables");
    let open: Vec<_> =
        table.lines().skip(1).filter(producer).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(open, ["outbox"], "a producer reaches one table");
    for line in table.lines().skip(1) {
        let reader = line.split_whitespace().nth(4).unwrap();
        assert!(reader.ends_with("----"), "a reader changes nothing: {line}");
    }
}
