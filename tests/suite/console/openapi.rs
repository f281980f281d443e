//! The OpenAPI document is the code's, and what it says of scopes is what happens.

use serde_json::Value;
use tests::{Console, TestDatabase};

/// Every operation of the document: method, path with its parameters filled in, scope.
fn operations() -> Vec<(String, String, Option<String>)> {
    let document: Value = serde_json::from_str(&console::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["token"][0].as_str().map(str::to_owned);
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
            operations.push((method.to_uppercase(), filled.join("/"), scope));
        }
    }
    operations
}

#[test]
fn the_committed_document_is_the_codes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("POSTMETER_BLESS").is_some() {
        std::fs::write(path, console::document()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == console::document(), "docs/openapi.json differs from the code: run `make schema`");
}

#[tokio::test]
async fn i3_a_token_without_the_scope_cannot_use_any_operation_that_needs_it() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let tokens = [
        ("intake", console.token(&["intake"]).await),
        ("read", console.token(&["read"]).await),
        ("operate", console.token(&["operate"]).await),
    ];
    let mut refused = 0;
    for (method, path, needed) in operations() {
        let Some(needed) = needed else {
            let open = ["/live", "/ready", "/metrics", "/openapi.json"];
            assert!(open.contains(&path.as_str()), "{method} {path} names no scope");
            continue;
        };
        let request = || console.http.request(method.parse().unwrap(), format!("{}{path}", console.url));
        assert_eq!(console.send(request()).await.status, 401, "{method} {path} without a token");
        for (scope, token) in &tokens {
            let allowed = *scope == needed || (*scope == "operate" && needed == "read");
            let status = console.send(request().bearer_auth(token)).await.status;
            assert_eq!(status != 403, allowed, "{method} {path} needs {needed}; with {scope} it is {status}");
            refused += usize::from(!allowed);
        }
    }
    assert!(refused > 0, "the document lists operations");
}
