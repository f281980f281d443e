//! What keeps others out: who may create where functions are looked up, triggers, publications, functions.

use outbox::Error;
use outbox::health::{MayCreate, Publication, Trigger, Unpinned};

use super::Round;

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    grants(round).await?;
    triggers(round).await?;
    publications(round).await?;
    functions(round).await
}

async fn grants(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(grants) = round.ask::<MayCreate>("grants").await? else { return Ok(()) };
    if grants.is_empty() {
        round.ok("grants", "only its owner creates in schema postmeter, and not everybody in public");
    }
    for MayCreate { schema, grantee } in grants {
        let advice = format!("revoke create on schema {schema} from {grantee}");
        if schema == "postmeter" {
            let found = format!("{grantee} may create in schema postmeter: what is made there is taken for ours");
            round.problem("grants", found, advice);
        } else {
            let found = "everybody may create in schema public, and so answer what people type: a function that fits \
                         better than Postgres's own is called, with the rights of whoever typed";
            round.warning("grants", found, advice);
        }
    }
    Ok(())
}

async fn triggers(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(triggers) = round.ask::<Trigger>("triggers").await? else { return Ok(()) };
    if triggers.is_empty() {
        round.ok("triggers", "all of ours fire, and intake's for replicas, too");
    }
    for Trigger { table, trigger, fires } in triggers {
        let is_intake = trigger == "arrived";
        let found = match fires.as_str() {
            "gone" => format!("postmeter.{table} has no trigger {trigger}: usage is not recorded as such"),
            fires if is_intake => {
                format!("{trigger} on postmeter.{table} fires {fires}: rows can arrive beside intake, without usage")
            }
            fires => format!("{trigger} on postmeter.{table} fires {fires}: what it refuses can be done"),
        };
        let always = if is_intake { "enable always" } else { "enable" };
        let advice = match fires.as_str() {
            "gone" => {
                format!("somebody dropped it: run what sql/schema says of trigger {trigger} on postmeter.{table}")
            }
            _ => format!("alter table postmeter.{table} {always} trigger {trigger}"),
        };
        round.problem("triggers", found, advice);
    }
    Ok(())
}

async fn publications(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(published) = round.ask::<Publication>("publications").await? else { return Ok(()) };
    if published.is_empty() {
        round.ok("publications", "none sends the outbox or the identities");
    }
    for Publication { publication, table, everything, named } in published {
        let advice = if everything {
            format!(
                "drop publication {publication}, and create it for the tables that are wanted: docs/operate/replication.md"
            )
        } else if named {
            format!("alter publication {publication} drop table postmeter.{table}")
        } else {
            format!("alter publication {publication} drop tables in schema postmeter, and name the tables")
        };
        let found =
            format!("publication {publication} sends postmeter.{table}: a subscriber would fold the same usage");
        round.warning("publications", found, advice);
    }
    Ok(())
}

async fn functions(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(functions) = round.ask::<Unpinned>("functions").await? else { return Ok(()) };
    if functions.is_empty() {
        round.ok("functions", "each of ours looks names up in pg_catalog alone");
    }
    for Unpinned { function, kind, definer } in functions {
        let rights = if definer { ", with its owner's rights" } else { "" };
        let found = format!("{function} looks names up on its caller's search_path{rights}");
        let advice = format!("alter {kind} {function} set search_path = pg_catalog, pg_temp");
        if definer {
            round.problem("functions", found, advice);
        } else {
            round.warning("functions", found, advice);
        }
    }
    Ok(())
}
