//! L5: clients that maintained generators make of the OpenAPI document are checked by their languages' type checkers, and
//! record, list, explain and decide.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Console, Stage, skip};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a tool to its end; what it says is shown if it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{said}");
    said
}

/// A console with a tenant, and what a client has to know of it.
async fn ground() -> (Stage, Console, [(&'static str, String); 3]) {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let env = [
        ("POSTMETER_URL", console.url.clone()),
        ("POSTMETER_TOKEN", console.token(&["intake", "read", "operate"]).await),
        ("POSTMETER_USED_AT", "2024-09-18T10:05:00+00:00".to_owned()),
    ];
    (stage, console, env)
}

fn document(place: &Path) -> PathBuf {
    let path = place.join("openapi.json");
    std::fs::write(&path, console::document()).expect("the document");
    path
}

async fn is_recorded(stage: &Stage, source: &str, usages: i64) {
    let sql = "select count(*) from postmeter.usage where source = $1";
    let recorded: i64 = stage.db.client.query_one(sql, &[&source]).await.unwrap().get(0);
    assert_eq!(recorded, usages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_generated_python_client_records_lists_explains_and_decides() {
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        return skip(
            "l5_a_generated_python_client_records_lists_explains_and_decides",
            "POSTMETER_TEST_PYTHON is not set",
        );
    };
    let place = tempfile::tempdir().expect("a directory");
    let (document, package) = (document(place.path()), place.path().join("client"));
    let bin = Path::new(&python).parent().expect("a directory").to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut generate = Command::new(bin.join("openapi-python-client"));
    generate.env("PATH", &path).args(["generate", "--path"]).arg(&document).arg("--output-path").arg(&package);
    let said = run(&mut generate);
    // a catalogue is TOML, which this generator does not know
    for warning in said.lines().filter(|line| line.starts_with("WARNING")) {
        assert!(warning.contains("/v1/catalogue"), "{said}");
    }
    let script = package.join("generated.py");
    std::fs::copy(root().join("clients/generated.py"), &script).expect("the script");
    let cache = place.path().join("mypy");
    run(Command::new(&python)
        .current_dir(&package)
        .args(["-m", "mypy", "--strict-equality", "--cache-dir"])
        .arg(cache)
        .arg(&script));
    let (stage, _console, env) = ground().await;
    let said =
        tokio::task::spawn_blocking(move || run(Command::new(&python).current_dir(&package).arg(&script).envs(env)));
    assert!(said.await.expect("it runs").contains("done"));
    is_recorded(&stage, "python", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_generated_typescript_clients_record_list_explain_and_decide() {
    let Ok(modules) = std::env::var("POSTMETER_TEST_NODE_MODULES") else {
        return skip(
            "l5_generated_typescript_clients_record_list_explain_and_decide",
            "POSTMETER_TEST_NODE_MODULES is not set",
        );
    };
    let place = tempfile::tempdir().expect("a directory");
    let here = place.path().to_owned();
    let document = document(&here);
    std::os::unix::fs::symlink(&modules, here.join("node_modules")).expect("a link");
    for file in ["package.json", "tsconfig.json", "openapi-ts.config.js", "openapi_fetch.ts", "hey_api.ts"] {
        std::fs::copy(root().join("clients").join(file), here.join(file)).expect("a file of the package");
    }
    let tool = |name: &str| {
        let mut command = Command::new(Path::new(&modules).join(".bin").join(name));
        command.current_dir(&here);
        command
    };
    run(tool("openapi-typescript").arg(&document).args(["-o", "api.ts"]));
    run(&mut tool("openapi-ts"));
    run(tool("tsc").args(["-p", "."]));
    let (stage, _console, env) = ground().await;
    for script in ["openapi_fetch.js", "hey_api.js"] {
        let (env, built) = (env.clone(), here.join("built"));
        let said = tokio::task::spawn_blocking(move || {
            let mut node = Command::new("node");
            node.current_dir(&built).arg(script).envs(env);
            run(&mut node)
        });
        assert!(said.await.expect("it runs").contains("done"), "{script}");
    }
    is_recorded(&stage, "fetch", 2).await;
    is_recorded(&stage, "hey", 3).await;
}
