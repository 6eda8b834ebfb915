//! The agents: how each is started, and told where its model is.

use std::{fs, path::Path};

use crate::{PORT, give, home::User};

/// An agent.
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    /// The program below the agent's folder, and its arguments; the task comes last.
    command: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// A file of settings below the home, and what it holds.
    settings: Option<(&'static str, &'static str)>,
}

/// `{port}` stands for the model's port.
pub(crate) const AGENTS: [Agent; 5] = [
    Agent {
        name: "claude",
        command: &["node_modules/.bin/claude", "--dangerously-skip-permissions", "-p"],
        environment: &[
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:{port}"),
            ("ANTHROPIC_API_KEY", "scripted"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            // It refuses to leave out its questions as root otherwise.
            ("IS_SANDBOX", "1"),
        ],
        settings: None,
    },
    Agent {
        name: "codex",
        command: &["node_modules/.bin/codex", "exec", "--dangerously-bypass-approvals-and-sandbox"],
        environment: &[("OPENAI_API_KEY", "scripted")],
        settings: Some((
            ".codex/config.toml",
            "model = \"scripted\"\nmodel_provider = \"scripted\"\n\
             [model_providers.scripted]\nname = \"scripted\"\nwire_api = \"responses\"\n\
             base_url = \"http://127.0.0.1:{port}/v1\"\nenv_key = \"OPENAI_API_KEY\"\n",
        )),
    },
    Agent {
        name: "gemini",
        command: &["node_modules/.bin/gemini", "--yolo", "-m", "gemini-2.5-flash", "-p"],
        environment: &[
            ("GEMINI_API_KEY", "scripted"),
            ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:{port}"),
            ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
        ],
        settings: Some((
            ".gemini/settings.json",
            r#"{"security":{"auth":{"selectedType":"gemini-api-key"}}}"#,
        )),
    },
    Agent {
        name: "opencode",
        command: &["node_modules/.bin/opencode", "run"],
        environment: &[],
        settings: Some((
            ".config/opencode/opencode.json",
            r#"{"model":"scripted/m","small_model":"scripted/m","permission":"allow","provider":{"scripted":{
                "npm":"@ai-sdk/openai-compatible","models":{"m":{}},
                "options":{"baseURL":"http://127.0.0.1:{port}/v1","apiKey":"scripted"}}}}"#,
        )),
    },
    Agent {
        name: "mini-swe-agent",
        command: &["lib/bin/mini", "-m", "openai/scripted", "--yolo", "--exit-immediately", "-t"],
        environment: &[
            ("PYTHONPATH", "/opt/agents/mini-swe-agent/lib"),
            ("OPENAI_API_KEY", "scripted"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:{port}/v1"),
            ("MSWEA_CONFIGURED", "true"),
            ("MSWEA_COST_TRACKING", "ignore_errors"),
        ],
        settings: None,
    },
];

impl Agent {
    pub(crate) fn command(&self) -> Vec<String> {
        let [program, arguments @ ..] = self.command else { return Vec::new() };
        let mut words = vec![format!("/opt/agents/{}/{program}", self.name)];
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        words
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.environment.iter().map(|(key, value)| (*key, with_port(value)))
    }

    /// Writes the agent's settings, as its user would have.
    pub(crate) fn settle(&self, user: User) {
        let Some((name, text)) = self.settings else { return };
        let path = Path::new(user.home()).join(name);
        let folder = path.parent().expect("settings lie in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(&path, with_port(text)).expect("settings can be written");
        for place in path.ancestors().take_while(|place| *place != Path::new(user.home())) {
            give(place, user);
        }
    }
}

fn with_port(text: &str) -> String {
    text.replace("{port}", &PORT.to_string())
}
