//! Server-sent events.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

/// A stream of events. Each has the name that its `type` says, if it has one.
pub(crate) fn stream(events: &[Value], end: &str) -> Response {
    let mut text = String::new();
    for event in events {
        if let Some(name) = event["type"].as_str() {
            text.push_str(&format!("event: {name}\n"));
        }
        text.push_str(&format!("data: {event}\n\n"));
    }
    text.push_str(end);
    ([(CONTENT_TYPE, "text/event-stream")], text).into_response()
}
