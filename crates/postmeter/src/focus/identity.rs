//! Which rows are one usage: those that agree in who, what, where and when.
//!
//! FOCUS gives a row no identity (issues 639 and 1071 of its repository ask for one), and a refreshed export has the same
//! rows with other costs, in another order, or cut otherwise. So the id is made of a list of columns that say who used what,
//! where and when: never how much, for what price, on which invoice, or by which display name. Rows with one id are added up.

use anyhow::bail;
use csv::StringRecord;
use jiff::Timestamp;
use uuid::Uuid;

use super::columns::Columns;

/// The identifying columns beside `ChargePeriodStart`, unless `--id` names others. Where `SkuId` is empty or no column,
/// `ServiceName` stands for it.
pub const USUAL: &[&str] =
    &["BillingAccountId", "SubAccountId", "ResourceId", "SkuId", "RegionId", "AvailabilityZone", "ConsumedUnit"];

/// The column that says when: a part of every event id.
const BEGIN: &str = "ChargePeriodStart";

/// The column that says until when.
const END: &str = "ChargePeriodEnd";

/// Namespace of the ids.
const GROUPS: Uuid = Uuid::from_u128(0x1d5e_6c1a_8a27_5f1b_b6a4_52c1_97f0_ee62);

/// Namespace of the ids that versions before 0062 gave to rows without a column `Id`.
const OLDER: Uuid = Uuid::from_u128(0x6c0f_3f2c_6f0e_5d0e_9c55_0b7d_7a0c_f0c5);

/// How rows of a file are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    columns: Vec<String>,
    prefix: String,
}

impl Rule {
    /// For a file with these columns: the usual ones that it has, or those that were named.
    ///
    /// # Errors
    /// A column that was named is not there, or says how much.
    pub fn of(columns: &Columns, named: Option<&[String]>) -> anyhow::Result<Self> {
        let list = match named {
            Some(named) => named.to_vec(),
            None => USUAL
                .iter()
                .map(|name| if *name == "SkuId" && !columns.has(name) { "ServiceName" } else { name })
                .filter(|name| columns.has(name))
                .map(str::to_owned)
                .collect(),
        };
        for name in &list {
            let says_how_much = ["Cost", "Quantity", "UnitPrice", "InvoiceId"].iter().any(|word| name.ends_with(word));
            if says_how_much {
                bail!("column {name} of --id says how much, which changes: an id says who used what, where and when");
            }
            if name == END {
                bail!("column {name} of --id moves while a period runs, and two granularities of it would not be seen");
            }
            if !columns.has(name) {
                bail!("column {name} of --id is not in its first line");
            }
        }
        // the begin is part of every event id, and set apart, so that a day and its hours are seen to be the same usage
        let list: Vec<String> = list.into_iter().filter(|name| name != BEGIN).collect();
        let mark = Uuid::new_v5(&GROUPS, list.join(",").as_bytes()).simple().to_string();
        Ok(Self { columns: list, prefix: format!("export:{}:", &mark[..8]) })
    }

    /// What all ids of this rule begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The columns, as `--id` takes them.
    #[must_use]
    pub fn columns(&self) -> String {
        self.columns.join(",")
    }

    /// The event id of a group. It says when first, so that ids grow with time and an index is written at its end.
    #[must_use]
    pub fn event_id(&self, begin: Timestamp, id: Uuid) -> String {
        format!("{}{}:{id}", self.prefix, begin.strftime("%Y%m%dT%H%M%S%.fZ"))
    }

    /// What a row's group is, beside its begin. `metric` is the tag of the unit: a unit that is written in another way is
    /// the same.
    #[must_use]
    pub fn id(&self, columns: &Columns, row: &StringRecord, metric: &str) -> Uuid {
        let service = || super::product_tag(columns.get(row, "ServiceName").unwrap_or_default());
        let mut bytes = Vec::new();
        let mut put = |name: &str, value: &str| {
            for part in [name, value] {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
        };
        for name in &self.columns {
            match columns.id(row, name) {
                Some(_) if name == "ConsumedUnit" => put(name, metric),
                Some(_) if name == "ServiceName" => put(name, &service()),
                // some providers change the case of an id from one export to the next
                Some(text) => put(name, &text.to_lowercase()),
                None if name == "SkuId" => put("ServiceName", &service()),
                None => {}
            }
        }
        Uuid::new_v5(&GROUPS, &bytes)
    }
}

/// The id that versions before 0062 gave a row: its column `Id`, else a hash of all its columns.
#[must_use]
pub fn older(columns: &Columns, row: &StringRecord) -> String {
    columns.untrimmed(row, "Id").map_or_else(
        || {
            let mut bytes = Vec::new();
            for field in row {
                bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
                bytes.extend_from_slice(field.as_bytes());
            }
            format!("row:{}", Uuid::new_v5(&OLDER, &bytes))
        },
        str::to_owned,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,SkuId,ResourceId,BilledCost";
    const ROW: &str = "7,S3,GB,1,2024-09-18 22:00:00,sku,/Disk/A,0.5";

    fn id(head: &str, row: &str) -> (String, String) {
        let columns = Columns::of(head.split(',').collect()).unwrap();
        let row: StringRecord = row.split(',').collect();
        let rule = Rule::of(&columns, None).unwrap();
        let metric = super::super::metric_tag(columns.get(&row, "ConsumedUnit").unwrap());
        let begin = super::super::time::time(columns.get(&row, BEGIN).unwrap(), None).unwrap();
        let event_id = rule.event_id(begin, rule.id(&columns, &row, &metric));
        (rule.prefix().to_owned(), event_id)
    }

    #[test]
    fn l6_an_id_is_of_who_what_where_and_when() {
        let known = id(HEAD, ROW);
        for same in [
            "7,S3,GB,2,2024-09-18 22:00:00,sku,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18 22:00:00,sku,/Disk/A,9",
            "7,Renamed,GB,1,2024-09-18 22:00:00,sku,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18T22:00:00.000Z,sku,/disk/a,0.5",
            " 7,S3,gb,1,2024-09-18 22:00:00,sku,/Disk/A,0.5",
        ] {
            assert_eq!(id(HEAD, same), known, "{same}");
        }
        for other in [
            "8,S3,GB,1,2024-09-18 22:00:00,sku,/Disk/A,0.5",
            "7,S3,GB-Months,1,2024-09-18 22:00:00,sku,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18 23:00:00,sku,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18 22:00:00,ski,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18 22:00:00,NULL,/Disk/A,0.5",
            "7,S3,GB,1,2024-09-18 22:00:00,sku,NULL,0.5",
        ] {
            assert_ne!(id(HEAD, other), known, "{other}");
        }
        let unnamed = |service| id(HEAD, &format!("7,{service},GB,1,2024-09-18 22:00:00,,/Disk/A,0.5"));
        assert_ne!(unnamed("S3"), unnamed("EC2"), "without a SKU the service says what it was");
        let without = |service| {
            let head = HEAD.replace("SkuId", "x_Sku");
            id(&head, &format!("7,{service},GB,1,2024-09-18 22:00:00,sku,/Disk/A,0.5"))
        };
        assert_ne!(without("S3"), without("EC2"), "nor without a column for it");
    }

    #[test]
    fn l6_ids_grow_with_time() {
        let columns = Columns::of(HEAD.split(',').collect()).unwrap();
        let rule = Rule::of(&columns, None).unwrap();
        let ids = ["2024-09-18T22:00:00Z", "2024-09-18T22:00:00.5Z", "2024-10-01T00:00:00Z"]
            .map(|begin| rule.event_id(begin.parse().unwrap(), Uuid::nil()));
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(ids[0], format!("{}20240918T220000Z:{nil}", rule.prefix()));
        assert_eq!(ids[1], format!("{}20240918T220000.5Z:{nil}", rule.prefix()));
        assert!(ids[1] < ids[2] && ids[0] < ids[2]);
    }

    #[test]
    fn l6_one_more_column_changes_an_id_only_if_it_identifies() {
        let known = id(HEAD, ROW);
        assert_eq!(id(&format!("{HEAD},x_Note"), &format!("{ROW},new")), known);
        let (prefix, _) = id(&format!("{HEAD},RegionId"), &format!("{ROW},eu"));
        assert_ne!(prefix, known.0, "and then by the prefix, which guards what was recorded before");
    }

    #[test]
    fn l6_the_ids_of_older_versions_are_as_they_were() {
        let columns = Columns::of(HEAD.split(',').collect()).unwrap();
        let row: StringRecord = ROW.split(',').collect();
        assert_eq!(older(&columns, &row), "row:fcb9add1-16d4-5cea-a318-86f899e55451");
    }

    #[test]
    fn l6_no_id_is_of_what_changes() {
        let columns = Columns::of(HEAD.split(',').collect()).unwrap();
        let named = |name: &str| Rule::of(&columns, Some(&[name.to_owned()])).map_err(|error| error.to_string());
        assert!(named("BilledCost").unwrap_err().contains("how much"));
        assert!(named("ConsumedQuantity").unwrap_err().contains("how much"));
        assert!(named("Nothing").unwrap_err().contains("Nothing"));
        assert!(named("ChargePeriodEnd").unwrap_err().contains("moves"));
        assert_eq!(named("ResourceId").unwrap().columns(), "ResourceId");
        assert_eq!(named(BEGIN).unwrap().columns(), "", "which counts anyway");
    }
}
