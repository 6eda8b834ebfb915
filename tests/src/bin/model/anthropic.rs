//! Anthropic's interface: Messages.

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
    let messages = body["messages"].as_array().into_iter().flatten();
    let blocks = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    Conversation {
        shell: Shell::among(tools.map(|tool| (&tool["name"], &tool["input_schema"]))),
        results: blocks
            .filter(|block| block["type"] == "tool_result")
            .map(|block| text(&block["content"]))
            .collect(),
    }
}

/// An answer.
pub(crate) fn message(body: &Value, turn: &Turn) -> Response {
    let usage = json!({"input_tokens": 10, "output_tokens": 10});
    let (block, empty, delta, reason) = match turn {
        Turn::Call { id, name, arguments } => (
            json!({"type": "tool_use", "id": id, "name": name, "input": arguments}),
            json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": arguments.to_string()}),
            "tool_use",
        ),
        Turn::Text(text) => (
            json!({"type": "text", "text": text}),
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
            "end_turn",
        ),
    };
    let whole = |content: Value, reason: Value| {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
            "content": content, "stop_reason": reason, "stop_sequence": null, "usage": usage,
        })
    };
    if body["stream"] != true {
        return Json(whole(json!([block]), json!(reason))).into_response();
    }
    let events = [
        json!({"type": "message_start", "message": whole(json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0, "content_block": empty}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta", "usage": usage,
            "delta": {"stop_reason": reason, "stop_sequence": null},
        }),
        json!({"type": "message_stop"}),
    ];
    sse::stream(&events, "")
}
