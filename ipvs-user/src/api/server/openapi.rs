//! The document of the API, made of the list of routes and the types on the wire.

use axum::Json;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    routes::{self, Of, Route},
    wire::{self, PREFIX},
};

/// In the form `OpenAPI` 3.1. The same program always makes the same.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.definitions_path = "/components/schemas".into();
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let operation = operation(&route, &mut generator);
        let path = paths
            .entry(format!("{PREFIX}{}", route.path))
            .or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ipvsd",
            "version": "1",
            "description": "HTTP over the Unix socket of the daemon. Every answer that is no success has an Error as its body.",
        },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let answer = (route.answer)(generator);
    let mut responses = Map::new();
    let success = json!({
        "description": "Success",
        "content": { route.media: { "schema": answer } },
    });
    responses.insert("200".to_owned(), success);
    let refused = generator.subschema_for::<wire::Error>();
    // Any request may be none, and the datapath's tables may fail.
    for status in [&[400, 403, 500], route.refusals].concat() {
        let refusal = json!({
            "description": reason(status),
            "content": { "application/json": { "schema": refused } },
        });
        responses.insert(status.to_string(), refusal);
    }
    let mut operation = json!({ "summary": route.summary, "responses": responses });
    if let Some(query) = route.query {
        operation["parameters"] = parameters(query, generator);
    }
    if let Some(body) = route.body {
        let schema = body(generator);
        let mut content = json!({ "application/json": { "schema": schema } });
        if route.path == "/config" {
            content["application/toml"] = json!({ "schema": { "type": "string" } });
        }
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Not a request that is understood",
        403 => "This socket only answers questions",
        404 => "Something that is named is not there",
        409 => "It is there already, or another change waits to be confirmed",
        422 => "Understood, and against a rule",
        507 => "A table is full",
        _ => "The datapath's tables refused",
    }
}

/// The fields of a query's type, one parameter each.
fn parameters(query: Of, generator: &mut SchemaGenerator) -> Value {
    let reference = query(generator);
    let name = reference
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.rsplit('/').next());
    let schema = name.and_then(|name| generator.definitions().get(name));
    let properties = schema
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object);
    let each = properties.into_iter().flatten().map(|(name, schema)| {
        let mut parameter = json!({ "name": name, "in": "query", "required": false });
        let mut schema = schema.clone();
        if let Some(told) = schema.as_object_mut().and_then(|s| s.remove("description")) {
            parameter["description"] = told;
        }
        parameter["schema"] = schema;
        parameter
    });
    Value::Array(each.collect())
}
