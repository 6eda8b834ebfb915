//! OpenAI's interfaces: Responses and Chat Completions.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{
    conversation::{Conversation, Shell, Turn, text},
    sse,
};

/// What a request of the Responses interface says.
pub(crate) fn of_responses(body: &Value) -> Conversation {
    let tools = body["tools"].as_array().into_iter().flatten();
    let items = body["input"].as_array().into_iter().flatten();
    Conversation {
        shell: Shell::among(tools.map(|tool| (&tool["name"], &tool["parameters"]))),
        results: items
            .filter(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("call_output")))
            .map(|item| text(&item["output"]))
            .collect(),
    }
}

/// An answer of the Responses interface.
pub(crate) fn response(body: &Value, turn: &Turn) -> Response {
    let item = match turn {
        Turn::Call { id, name, arguments } => json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": id, "status": "completed",
            "name": name, "arguments": arguments.to_string(),
        }),
        Turn::Text(text) => json!({
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }),
    };
    let whole = json!({
        "id": "resp_1", "object": "response", "created_at": 0, "status": "completed",
        "model": body["model"], "output": [item],
        "usage": {
            "input_tokens": 10, "output_tokens": 10, "total_tokens": 20,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    });
    if body["stream"] != true {
        return Json(whole).into_response();
    }
    let events = [
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": whole}),
    ];
    sse::stream(&events, "")
}

/// What a request of the Chat Completions interface says.
pub(crate) fn of_chat(body: &Value) -> Conversation {
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]);
    let messages = body["messages"].as_array().into_iter().flatten();
    Conversation {
        shell: Shell::among(tools.map(|tool| (&tool["name"], &tool["parameters"]))),
        results: messages
            .filter(|message| message["role"] == "tool")
            .map(|message| text(&message["content"]))
            .collect(),
    }
}

/// An answer of the Chat Completions interface.
pub(crate) fn completion(body: &Value, turn: &Turn) -> Response {
    let (message, reason) = match turn {
        Turn::Call { id, name, arguments } => {
            let function = json!({"name": name, "arguments": arguments.to_string()});
            let call = json!({"index": 0, "id": id, "type": "function", "function": function});
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
        Turn::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
    };
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20});
    let of = |kind: &str, choice: Value, usage: &Value| {
        json!({
            "id": "chatcmpl-1", "object": kind, "created": 0, "model": body["model"],
            "choices": [choice], "usage": usage,
        })
    };
    if body["stream"] != true {
        let choice = json!({"index": 0, "message": message, "finish_reason": reason});
        return Json(of("chat.completion", choice, &usage)).into_response();
    }
    let kind = "chat.completion.chunk";
    let events = [
        of(kind, json!({"index": 0, "delta": message, "finish_reason": null}), &Value::Null),
        of(kind, json!({"index": 0, "delta": {}, "finish_reason": reason}), &usage),
    ];
    sse::stream(&events, "data: [DONE]\n\n")
}
