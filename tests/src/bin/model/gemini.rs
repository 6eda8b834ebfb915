//! Gemini's interface: `generateContent` and `streamGenerateContent`.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{
    conversation::{Conversation, Shell, Turn, text},
    sse,
};

/// What a request says.
pub(crate) fn conversation(body: &Value) -> Conversation {
    let tools = body["tools"].as_array().into_iter().flatten();
    let declared =
        tools.flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten());
    let contents = body["contents"].as_array().into_iter().flatten();
    let parts = contents.flat_map(|content| content["parts"].as_array().into_iter().flatten());
    let schema = |tool: &Value| {
        if tool["parametersJsonSchema"].is_object() { "parametersJsonSchema" } else { "parameters" }
    };
    Conversation {
        shell: Shell::among(declared.map(|tool| (&tool["name"], &tool[schema(tool)]))),
        results: parts
            .filter(|part| part["functionResponse"].is_object())
            .map(|part| text(&part["functionResponse"]["response"]))
            .collect(),
    }
}

/// An answer.
pub(crate) fn content(streams: bool, turn: &Turn) -> Response {
    let part = match turn {
        Turn::Call { id, name, arguments } => {
            json!({"functionCall": {"id": id, "name": name, "args": arguments}})
        }
        Turn::Text(text) => json!({"text": text}),
    };
    let answer = json!({
        "candidates": [{
            "index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [part]},
        }],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20},
    });
    if streams { sse::stream(&[answer], "") } else { Json(answer).into_response() }
}
