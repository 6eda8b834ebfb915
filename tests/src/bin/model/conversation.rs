//! What all interfaces have in common: how far a conversation has come, and the tool that runs commands.

use serde_json::{Map, Value, json};

/// A request, as far as the script needs it.
#[derive(Default)]
pub(crate) struct Conversation {
    /// The tool that runs commands; `None` where the agent asks beside its work.
    pub(crate) shell: Option<Shell>,
    /// What came of the commands so far, as text.
    pub(crate) results: Vec<String>,
}

/// What the model says.
pub(crate) enum Turn {
    /// Have the agent call a tool. Agents take two calls of one id for the same.
    Call {
        id: String,
        name: String,
        arguments: Value,
    },
    Text(String),
}

/// A tool that runs a command.
pub(crate) struct Shell {
    pub(crate) name: String,
    schema: Value,
}

/// What agents call the tool.
const NAMES: [&str; 6] =
    ["bash", "shell", "shell_command", "exec_command", "run_shell_command", "local_shell"];

impl Shell {
    /// The tool among those that a request offers, each with its name and the JSON schema of its arguments.
    pub(crate) fn among<'a>(tools: impl Iterator<Item = (&'a Value, &'a Value)>) -> Option<Self> {
        let mut named = tools.filter_map(|(name, schema)| Some((name.as_str()?, schema)));
        named
            .find(|(name, _)| NAMES.contains(&name.to_lowercase().as_str()))
            .map(|(name, schema)| Self { name: name.to_owned(), schema: schema.clone() })
    }

    /// The arguments that have it run a command: those that it requires, by their names and types.
    pub(crate) fn arguments(&self, command: &str) -> Value {
        let properties = self.schema["properties"].as_object();
        let required: Vec<&str> = self.schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut arguments = Map::new();
        for (name, schema) in properties.into_iter().flatten() {
            let kind = schema["type"].as_str().unwrap_or_default().to_lowercase();
            let value = match (name.as_str(), kind.as_str()) {
                ("command" | "cmd", "array") => json!(["bash", "-lc", command]),
                ("command" | "cmd", _) => json!(command),
                _ if !required.contains(&name.as_str()) => continue,
                (_, "boolean") => json!(false),
                (_, "number" | "integer") => json!(30_000),
                _ => json!("as asked"),
            };
            arguments.insert(name.clone(), value);
        }
        if arguments.is_empty() {
            arguments.insert("command".to_owned(), json!(command));
        }
        Value::Object(arguments)
    }
}

/// The text of a result, which may be a string, or parts of which some have a text.
pub(crate) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Object(part) if part.contains_key("text") => text(&part["text"]),
        Value::Object(part) => part.values().map(text).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
