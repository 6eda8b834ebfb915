//! `model`: a server on loopback that answers as a model would, by a script: it has an agent run one command after
//! another, and says that it is done. Speaks what the agents of `cargo xtask agents` speak.
//!
//! ```text
//! model PORT SCRIPT TRANSCRIPT
//! ```
//! `SCRIPT` has a command a line. `TRANSCRIPT` gets a JSON object a line for each answer: which interface was asked,
//! the command that the agent was told to run, and what came of the command before, as the agent told it.
//!
//! What comes next follows from the request alone, by the number of results in it: agents repeat requests, and ask
//! beside their conversation, for titles and summaries, without tools.

mod anthropic;
mod conversation;
mod gemini;
mod openai;
mod sse;

use std::{
    env, fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use conversation::{Conversation, Turn};

/// The script, and where what was said is written.
pub(crate) struct Model {
    commands: Vec<String>,
    transcript: Mutex<fs::File>,
}

impl Model {
    /// What the model says next.
    pub(crate) fn turn(&self, api: &str, conversation: &Conversation) -> Turn {
        let turn = match (&conversation.shell, self.commands.get(conversation.results.len())) {
            (Some(shell), Some(command)) => Turn::Call {
                id: format!("call_{}", conversation.results.len()),
                name: shell.name.clone(),
                arguments: shell.arguments(command),
            },
            _ => Turn::Text("All done.".to_owned()),
        };
        if conversation.shell.is_some() {
            let line = json!({
                "api": api,
                "turn": conversation.results.len(),
                "says": match &turn {
                    Turn::Call { .. } => self.commands[conversation.results.len()].as_str(),
                    Turn::Text(text) => text,
                },
                "result": conversation.results.last(),
            });
            let mut transcript = self.transcript.lock().unwrap_or_else(PoisonError::into_inner);
            // The test that reads it finds a line that is missing.
            let _ = writeln!(transcript, "{line}");
        }
        turn
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, script, transcript] = arguments.as_slice() else {
        eprintln!("usage: model PORT SCRIPT TRANSCRIPT");
        std::process::exit(2);
    };
    let port: u16 = port.parse().expect("a port");
    let script = fs::read_to_string(script).expect("a script");
    let commands = script.lines().map(str::to_owned);
    let transcript = fs::File::options().create(true).append(true).open(transcript);
    let model = Arc::new(Model {
        commands: commands.filter(|line| !line.is_empty()).collect(),
        transcript: Mutex::new(transcript.expect("a place for the transcript")),
    });
    let router = Router::new()
        .route("/v1/responses", post(responses))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count))
        .route("/v1beta/models/{call}", post(generate))
        .route("/v1/models", get(models))
        .fallback(async |uri: Uri| {
            eprintln!("model: nobody answers {uri}");
            Json(json!({}))
        })
        .with_state(model);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        axum::serve(listener, router).await.expect("a server");
    });
}

async fn responses(State(model): State<Arc<Model>>, Json(body): Json<Value>) -> Response {
    let turn = model.turn("responses", &openai::of_responses(&body));
    openai::response(&body, &turn)
}

async fn chat(State(model): State<Arc<Model>>, Json(body): Json<Value>) -> Response {
    let turn = model.turn("chat", &openai::of_chat(&body));
    openai::completion(&body, &turn)
}

async fn messages(State(model): State<Arc<Model>>, Json(body): Json<Value>) -> Response {
    let turn = model.turn("messages", &anthropic::conversation(&body));
    anthropic::message(&body, &turn)
}

async fn generate(
    State(model): State<Arc<Model>>,
    Path(call): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let turn = model.turn("gemini", &gemini::conversation(&body));
    if call.ends_with(":countTokens") {
        return Json(json!({"totalTokens": 10})).into_response();
    }
    gemini::content(call.contains("stream"), &turn)
}

async fn count() -> Json<Value> {
    Json(json!({"input_tokens": 10}))
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))
}
