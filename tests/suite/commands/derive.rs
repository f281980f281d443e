//! `catalog derive focus`, for every marketplace.

use tests::Stage;

use super::run;

const EXPORT: &str = "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargePeriodEnd\n\
    123,Amazon S3,GB-Months,1.5,2024-09-18 10:00:00,2024-09-18 11:00:00\n\
    acme,Amazon S3,GB-Months,2,2024-09-18 10:00:00,2024-09-18 11:00:00\n\
    acme,Data Warehouse,GB-Months,3,2024-09-18 10:00:00,2024-09-18 11:00:00\n";

#[tokio::test]
async fn a7_a_derived_catalogue_passes_the_rules_of_its_marketplace() {
    let stage = Stage::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export.csv");
    std::fs::write(&export, EXPORT).unwrap();
    let export = export.to_string_lossy().into_owned();
    let service = "service_name=db.endpoints.example.cloud.goog";
    for (kind, settings, placeholder) in [
        ("aws", vec![], "000000000123"),
        ("azure", vec![], "plan_id = \"placeholder\""),
        ("google", vec!["--setting", service, "--setting", "credentials=metadata"], "project_number:000000000123"),
    ] {
        let mut words = vec!["catalog", "derive", "focus", export.as_str(), "--kind", kind];
        words.extend(settings);
        let (code, derived, error) = run(&stage, &words);
        assert_eq!(code, 0, "{kind}: {error}");
        assert!(derived.contains(placeholder), "{derived}");
        assert_eq!(run(&stage, &words).1, derived, "the same export gives the same file");
        let file = folder.path().join("catalogue.toml");
        std::fs::write(&file, &derived).unwrap();
        let (code, text, error) = run(&stage, &["catalog", "apply", "--dry-run", &file.to_string_lossy()]);
        assert_eq!(code, 3, "{kind}: {text}{error}");
    }
    let (code, _, error) = run(&stage, &["catalog", "derive", "focus", &export, "--kind", "google"]);
    assert!(code == 2 && error.contains("service_name"), "{error}");
    let (code, _, error) = run(&stage, &["catalog", "derive", "focus", &export, "--kind", "alibaba"]);
    assert!(code == 2 && error.contains("alibaba"), "{error}");
}
