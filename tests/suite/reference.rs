//! `docs/schema.md`: the schema as its comments tell it.

use std::path::Path;

use tests::TestDatabase;

/// Sections of the page, a row each: heading, what it is, and its lines.
const RELATIONS: &str = "
    select c.relkind = 'v', c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), ''),
           (select string_agg(format('| `%s` | %s%s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
                       case when c.relkind <> 'v' and not a.attnotnull then ', null' else '' end,
                       replace(coalesce(col_description(c.oid, a.attnum), ''), '|', '\\|')), E'\n' order by a.attnum)
            from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
           (select string_agg(format('`%s`: %s', g.role, g.may), '; ' order by g.role)
            from (select x.role, string_agg(x.may, ', ' order by x.may) as may
                  from (select x.grantee::regrole::text as role, lower(x.privilege_type) as may
                        from aclexplode(c.relacl) x where x.grantee <> c.relowner
                        union
                        select x.grantee::regrole::text, lower(x.privilege_type) || ' (' || string_agg(a.attname, ', ' order by a.attnum) || ')'
                        from pg_attribute a, aclexplode(a.attacl) x
                        where a.attrelid = c.oid and x.grantee <> c.relowner group by x.grantee, x.privilege_type) x
                  group by x.role) g),
           (select string_agg('`' || replace(regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX (\\S+) ON (ONLY )?\\S+ USING btree ', '\\1'), 'UNIQUE ', 'unique ') || '`',
                              ', ' order by i.indexrelid)
            from pg_index i where i.indrelid = c.oid)
    from pg_class c
    where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
    order by c.relkind = 'v', c.relname";

const FUNCTIONS: &str = "
    select p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), coalesce(obj_description(p.oid, 'pg_proc'), ''),
           (select string_agg('`' || x.grantee::regrole::text || '`', ', ' order by x.grantee::regrole::text)
            from aclexplode(p.proacl) x where x.grantee not in (0, p.proowner))
    from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.prorettype <> 'trigger'::regtype
    order by 1, 2";

async fn page(db: &TestDatabase) -> String {
    let mut text = "# Schema\n\nEvery table, view and function of the schema `postmeter`, as their comments tell it. Written by `make schema`; a test\n\
                    compares. How they belong together: [own the schema](own-the-schema.md).\n"
        .to_owned();
    let mut heading = None;
    for row in db.client.query(RELATIONS, &[]).await.unwrap() {
        let is_view: bool = row.get(0);
        if heading != Some(is_view) {
            text += if is_view { "\n## Views\n" } else { "\n## Tables\n" };
            heading = Some(is_view);
        }
        let (name, comment, columns): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        text += &format!("\n### {name}\n\n{comment}\n\n| column | type | meaning |\n|---|---|---|\n{columns}\n");
        if let Some(indexes) = row.get::<_, Option<String>>(5) {
            text += &format!("\nIndexes: {indexes}.\n");
        }
        if let Some(grants) = row.get::<_, Option<String>>(4) {
            text += &format!("\nGrants: {grants}.\n");
        }
    }
    text += "\n## Functions\n\nThose of triggers are left out.\n";
    for row in db.client.query(FUNCTIONS, &[]).await.unwrap() {
        let (name, arguments, result, comment): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let callers = row
            .get::<_, Option<String>>(4)
            .map_or("Nobody but the owner calls it.".to_owned(), |roles| format!("May be called by {roles}."));
        text += &format!(
            "\n### {name}\n\n```text\n{name}({arguments})\n    returns {result}\n```\n\n{comment} {callers}\n"
        );
    }
    text
}

#[tokio::test]
async fn schema_md_is_what_the_comments_say() {
    let db = TestDatabase::fresh().await;
    let there = page(&db).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.md");
    if std::env::var_os("POSTMETER_BLESS").is_some() {
        std::fs::write(&path, &there).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = there.lines().zip(committed.lines()).find(|(there, committed)| there != committed);
    assert!(there == committed, "docs/schema.md is not what the database says, run `make schema`: {line:?}");
}
