//! The description of the API against the file in the repository and against what a server answers.

use std::collections::BTreeSet;

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::TestDaemon;
use crate::api::server::openapi::document;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// One request of each resource, and some that are refused: method, resource, body, status.
fn requests() -> Vec<(&'static str, &'static str, Value, u16)> {
    let nothing = Value::Null;
    let service = json!({"tcp": "10.0.0.5:80"});
    let add = json!([
        {"add_service": {"service": service, "spec": {"scheduler": "rr", "persistent": 60}}},
        {"add_dest": {"service": service, "dest": "10.0.1.1:80", "spec": {"method": "masq", "weight": 1}}},
    ]);
    let config =
        json!({"services": [{"service": {"udp": "10.0.0.5:53"}, "spec": {"scheduler": "sh"}}]});
    vec![
        ("POST", "commands", add.clone(), 200),
        ("POST", "commands", add, 409),
        ("POST", "commands", json!([{"flush": 1}]), 400),
        (
            "POST",
            "commands",
            json!([{"delete_service": {"service": {"udp": "10.0.0.9:1"}}}]),
            404,
        ),
        (
            "POST",
            "expectations",
            json!({"protocol": "tcp", "client": "198.51.100.1", "virtual": "10.0.0.5:4000",
            "service": service, "real": "10.0.1.1:0", "timeout": 60}),
            200,
        ),
        ("GET", "version", nothing.clone(), 200),
        ("GET", "status", nothing.clone(), 200),
        ("GET", "services", nothing.clone(), 200),
        ("GET", "services?tcp=10.0.0.5:80", nothing.clone(), 200),
        ("GET", "services?tcp=10.0.0.5:81", nothing.clone(), 404),
        ("GET", "services?tcp=x", nothing.clone(), 400),
        ("GET", "dests", nothing.clone(), 200),
        ("GET", "conns", nothing.clone(), 200),
        ("GET", "stats", nothing.clone(), 200),
        ("GET", "reasons", nothing.clone(), 200),
        (
            "POST",
            "commands",
            json!([{"set_matches": {"matches": [{"mark": 7, "to": "0.0.0.0/0", "ports": ["80"], "protocol": "tcp"}]}}]),
            200,
        ),
        ("GET", "matches", nothing.clone(), 200),
        ("GET", "sysctl", nothing.clone(), 200),
        ("PATCH", "sysctl", json!({"sloppy_tcp": 1}), 200),
        ("PATCH", "sysctl", json!({"sloppy_tcp": 7}), 422),
        ("PATCH", "sysctl", json!({"slippy_tcp": 1}), 404),
        ("GET", "timeouts", nothing.clone(), 200),
        ("PATCH", "timeouts", json!({"udp": 30}), 200),
        ("PATCH", "timeouts", json!({"udp": 0}), 422),
        ("GET", "config", nothing.clone(), 200),
        ("PUT", "config?dry_run=true", config.clone(), 200),
        ("PUT", "config?confirm=60", config.clone(), 200),
        ("PUT", "config", config.clone(), 409),
        ("POST", "config/rollback", nothing.clone(), 200),
        ("POST", "config/rollback", nothing.clone(), 409),
        ("PUT", "config?confirm=60", config.clone(), 200),
        ("POST", "config/confirm", nothing.clone(), 200),
        ("POST", "config/confirm", nothing.clone(), 409),
        ("PUT", "config?confirm=0", config, 422),
        ("POST", "config/reload", nothing.clone(), 422),
        ("GET", "openapi.json", nothing.clone(), 200),
        ("GET", "events?since=1", nothing.clone(), 200),
        ("GET", "sync", nothing.clone(), 200),
        (
            "POST",
            "sync",
            json!({"role": "master", "interface": "nowhere0"}),
            404,
        ),
        (
            "POST",
            "sync",
            json!({"role": "master", "interface": "lo", "group": "10.0.0.1"}),
            422,
        ),
        ("POST", "sync", json!({"role": "captain"}), 400),
        ("DELETE", "sync?role=backup", nothing.clone(), 404),
        ("POST", "detach", nothing, 200),
    ]
}

async fn ask(daemon: &TestDaemon, method: &str, resource: &str, body: &Value) -> (u16, Bytes) {
    let stream = tokio::net::UnixStream::connect(&daemon.socket)
        .await
        .unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/{resource}"))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    if resource.starts_with("events") && status == 200 {
        // It has no end; a line of it will do.
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        return (status, frame.into_data().unwrap());
    }
    (status, response.collect().await.unwrap().to_bytes())
}

/// The schema of an answer, with all that it refers to.
fn schema(document: &Value, path: &str, method: &str, status: u16) -> Option<Value> {
    let answer = &document["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
    let content = answer["content"].as_object()?;
    let mut schema = content.values().next()?["schema"].clone();
    schema["components"] = document["components"].clone();
    Some(schema)
}

#[test]
fn description_is_the_one_in_the_repository() {
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("IPVS_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        made == kept,
        "docs/openapi.json is not what the program says: run this test with IPVS_WRITE_OPENAPI=1"
    );
}

#[tokio::test]
async fn every_resource_answers_as_described() {
    let daemon = TestDaemon::start();
    let document = document();
    let mut asked = BTreeSet::new();
    for (method, resource, body, expected) in requests() {
        let path = format!("/v1/{}", resource.split('?').next().unwrap());
        let (status, answer) = ask(&daemon, method, resource, &body).await;
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, expected, "{method} {resource}: {text}");
        let schema = schema(&document, &path, method, status);
        let schema = schema.unwrap_or_else(|| panic!("{method} {path}: no {status} is described"));
        let answer = serde_json::from_slice(&answer).unwrap_or_else(|e| panic!("{e}: {text}"));
        let valid = jsonschema::validate(&schema, &answer);
        valid.unwrap_or_else(|e| panic!("{method} {resource}: {e} in {text}"));
        asked.insert((path, method.to_lowercase()));
    }
    let paths = document["paths"].as_object().unwrap();
    let described = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (path.clone(), method.clone()))
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), asked);
}

#[tokio::test]
async fn wrong_method_is_told_in_the_form_of_every_error() {
    let daemon = TestDaemon::start();
    let (status, answer) = ask(&daemon, "DELETE", "services", &Value::Null).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["code"]), (405, &json!("bad_request")));
}
