//! The daemon's settings file, `/etc/remit/remitd.toml`.
//!
//! Every key is optional. An unknown key or a wrong value is an error with its place and what would be right: a
//! misspelt setting must not silently fall back to its default.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::policy::{
    diagnostic::nearest,
    value::{Problem, duration},
};

/// Where the settings are unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/remit/remitd.toml";
/// The control socket unless the settings say otherwise.
pub const DEFAULT_SOCKET: &str = "/run/remit/control.sock";

/// The daemon's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the policy's files.
    pub policy_dir: PathBuf,
    /// The folder of what ships, which a policy takes by `use`.
    pub shipped_dir: PathBuf,
    /// The folder of the daemon's own state: sessions, tools, lock.
    pub state_dir: PathBuf,
    /// The folder of `incidents.jsonl`.
    pub log_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The folder in a BPF file system where programs, links and maps are pinned.
    pub pin_dir: PathBuf,
    /// The operators' group.
    pub group: String,
    /// How often the canary runs; `None` for never.
    pub canary_interval: Option<Duration>,
    /// How long the kernel programs stay attached after the last session; `None` for ever.
    pub detach_after: Option<Duration>,
    /// Where sessions get control groups.
    pub control_group: ControlGroup,
    /// The folder in which sessions' temporary folders are made.
    pub tmp_dir: PathBuf,
    /// The folder of the caches that are kept for profiles and users.
    pub cache_dir: PathBuf,
}

/// Where sessions get control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlGroup {
    /// Below the group that systemd delegates to the daemon; without systemd, below `remit` at the root.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Below this group, which nobody else uses.
    At(PathBuf),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy_dir: "/etc/remit/policy.d".into(),
            shipped_dir: "/usr/share/remit/policy".into(),
            state_dir: "/var/lib/remit".into(),
            log_dir: "/var/log/remit".into(),
            socket: DEFAULT_SOCKET.into(),
            pin_dir: "/sys/fs/bpf/remit".into(),
            group: "remit".into(),
            canary_interval: Some(Duration::from_secs(60)),
            detach_after: Some(Duration::from_secs(60)),
            control_group: ControlGroup::Auto,
            tmp_dir: "/tmp".into(),
            cache_dir: "/var/cache/remit".into(),
        }
    }
}

/// The keys, as an error names them.
const KEYS: [&str; 12] = [
    "policy_dir",
    "shipped_dir",
    "state_dir",
    "log_dir",
    "socket",
    "pin_dir",
    "group",
    "canary_interval",
    "detach_after",
    "control_group",
    "tmp_dir",
    "cache_dir",
];

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the settings `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file says something wrong.
    #[error("{0}")]
    Wrong(Wrong),
}

/// A wrong place in the settings file.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Settings {
    /// Reads the settings from the named file, which must exist, or from the default one, which need not.
    ///
    /// # Errors
    /// The file can't be read, or says something wrong.
    pub fn load(named: Option<&Path>) -> Result<Self, SettingsError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads the settings from text; `path` is what errors name.
    ///
    /// # Errors
    /// The text is not TOML, has an unknown key, or a value that does not fit its key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let wrong = |at: usize, message: String, help: Option<String>| {
            let (line, column) = place(text, at);
            SettingsError::Wrong(Wrong { path: path.to_owned(), line, column, message, help })
        };
        let table = toml::de::DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(at, error.message().trim_end().replace('\n', ", "), None)
        })?;
        let mut settings = Self::default();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            let target = match name {
                "policy_dir" => Some(&mut settings.policy_dir),
                "shipped_dir" => Some(&mut settings.shipped_dir),
                "state_dir" => Some(&mut settings.state_dir),
                "log_dir" => Some(&mut settings.log_dir),
                "socket" => Some(&mut settings.socket),
                "pin_dir" => Some(&mut settings.pin_dir),
                "tmp_dir" => Some(&mut settings.tmp_dir),
                "cache_dir" => Some(&mut settings.cache_dir),
                "group" | "canary_interval" | "detach_after" | "control_group" => None,
                _ => {
                    let message = format!("unknown setting `{name}`");
                    return Err(wrong(key.span().start, message, Some(suggest(name))));
                }
            };
            let at = value.span().start;
            let Some(value) = value.get_ref().as_str() else {
                let message = format!("`{name}` takes a text");
                return Err(wrong(at, message, Some(format!("`{name} = \"…\"`"))));
            };
            match target {
                Some(_) if !value.starts_with('/') => {
                    let message = format!("`{name}` is not an absolute path: `{value}`");
                    return Err(wrong(at, message, Some("a path that begins with `/`".into())));
                }
                Some(target) => *target = value.trim_end_matches('/').into(),
                None if name == "canary_interval" => {
                    settings.canary_interval = interval(value)
                        .map_err(|problem| wrong(at, problem.message, problem.help))?;
                }
                None if name == "detach_after" => {
                    settings.detach_after = detach_after(value)
                        .map_err(|problem| wrong(at, problem.message, problem.help))?;
                }
                None if name == "control_group" => {
                    settings.control_group = control_group(value)
                        .map_err(|problem| wrong(at, problem.message, problem.help))?;
                }
                None if value.is_empty() => {
                    return Err(wrong(at, "`group` is empty".into(), Some("`remit`".into())));
                }
                None => settings.group = value.to_owned(),
            }
        }
        Ok(settings)
    }
}

/// The time between two runs of the canary; `off` or zero for never.
fn interval(text: &str) -> Result<Option<Duration>, Problem> {
    const HELP: &str = "`canary_interval = \"1m\"`, or `\"off\"`";
    if text == "off" || matches!(text, "0" | "0s" | "0m" | "0h" | "0d") {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|problem| problem.help(HELP))
}

/// The time without a session after which hooks are detached; `off` for never.
fn detach_after(text: &str) -> Result<Option<Duration>, Problem> {
    const HELP: &str = "`detach_after = \"1m\"`, or `\"off\"`";
    if text == "off" {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|problem| problem.help(HELP))
}

/// Where sessions get control groups: `auto`, `off`, or a folder.
fn control_group(text: &str) -> Result<ControlGroup, Problem> {
    match text {
        "auto" => Ok(ControlGroup::Auto),
        "off" => Ok(ControlGroup::Off),
        path if path.starts_with('/') => Ok(ControlGroup::At(path.trim_end_matches('/').into())),
        other => Err(Problem::new(format!("`{other}` is no place for control groups"))
            .help("`\"auto\"`, `\"off\"`, or a folder such as `\"/sys/fs/cgroup/remit\"`")),
    }
}

/// The key that was meant, or all of them.
fn suggest(name: &str) -> String {
    nearest(name, KEYS).map_or_else(
        || format!("the settings are {}", KEYS.map(|key| format!("`{key}`")).join(", ")),
        |key| format!("did you mean `{key}`?"),
    )
}

/// Line and character of a byte of the text, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Wrong {
        match Settings::parse(Path::new("s.toml"), text) {
            Err(SettingsError::Wrong(wrong)) => wrong,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn empty_text_gives_the_defaults() {
        assert_eq!(Settings::parse(Path::new("s"), "# nothing\n").unwrap(), Settings::default());
    }

    #[test]
    fn each_key_replaces_its_default() {
        let text = "policy_dir='/a'\nstate_dir='/b/'\nlog_dir='/c'\nsocket='/d'\npin_dir='/e'\n\
                    group='f'\nshipped_dir='/g/'\ntmp_dir='/t'\ncache_dir='/k'";
        let settings = Settings::parse(Path::new("s"), text).unwrap();
        assert_eq!(settings.policy_dir, Path::new("/a"));
        assert_eq!(settings.state_dir, Path::new("/b"));
        assert_eq!(settings.log_dir, Path::new("/c"));
        assert_eq!(settings.socket, Path::new("/d"));
        assert_eq!(settings.pin_dir, Path::new("/e"));
        assert_eq!(settings.group, "f");
        assert_eq!(settings.shipped_dir, Path::new("/g"));
        assert_eq!((settings.tmp_dir, settings.cache_dir), ("/t".into(), "/k".into()));
    }

    #[test]
    fn canary_interval_is_a_duration_or_off() {
        let of = |value: &str| {
            let text = format!("canary_interval = \"{value}\"");
            Settings::parse(Path::new("s"), &text).unwrap().canary_interval
        };
        assert_eq!(of("90s"), Some(Duration::from_secs(90)));
        assert_eq!(of("1m"), Some(Duration::from_secs(60)));
        assert_eq!((of("off"), of("0s")), (None, None));
        let bad = wrong("canary_interval = \"soon\"");
        assert_eq!((bad.line, bad.column), (1, 19));
        assert!(bad.message.contains("soon") && bad.help.unwrap().contains("`\"off\"`"));
        assert_eq!(wrong("canary_interval = 60").message, "`canary_interval` takes a text");
        let near = wrong("canary_intervall = \"1m\"").help;
        assert_eq!(near.as_deref(), Some("did you mean `canary_interval`?"));
    }

    #[test]
    fn detach_after_is_a_duration_or_off() {
        let of = |value: &str| {
            let text = format!("detach_after = \"{value}\"");
            Settings::parse(Path::new("s"), &text).unwrap().detach_after
        };
        assert_eq!((of("5m"), of("off")), (Some(Duration::from_secs(300)), None));
        for bad in ["0s", "never"] {
            let bad = wrong(&format!("detach_after = \"{bad}\""));
            assert!(bad.help.is_some_and(|help| help.contains("`\"off\"`")));
        }
    }

    #[test]
    fn control_group_is_a_folder_or_a_word() {
        let of = |value: &str| {
            let text = format!("control_group = \"{value}\"");
            Settings::parse(Path::new("s"), &text).unwrap().control_group
        };
        assert_eq!((of("auto"), of("off")), (ControlGroup::Auto, ControlGroup::Off));
        assert_eq!(of("/sys/fs/cgroup/a/"), ControlGroup::At("/sys/fs/cgroup/a".into()));
        let bad = wrong("control_group = \"remit\"");
        assert!(bad.message.contains("`remit`") && bad.help.unwrap().contains("`\"auto\"`"));
    }

    #[test]
    fn unknown_key_is_an_error_with_place_and_suggestion() {
        let near = wrong("group = \"g\"\n sokcet = \"/x\"\n");
        assert_eq!((near.line, near.column), (2, 2));
        assert_eq!(near.message, "unknown setting `sokcet`");
        assert_eq!(near.help.as_deref(), Some("did you mean `socket`?"));
        let far = wrong("colour = 1");
        assert!(far.help.unwrap().contains("`pin_dir`"));
    }

    #[test]
    fn wrong_value_is_an_error_with_its_place() {
        let relative = wrong("socket = \"run/x\"");
        assert_eq!((relative.line, relative.column), (1, 10));
        assert!(relative.message.contains("`run/x`"));
        assert_eq!(wrong("socket = 3").message, "`socket` takes a text");
        assert_eq!(wrong("group = ''").message, "`group` is empty");
        assert_eq!(wrong("a = 1\nsocket = \n").line, 2);
    }

    #[test]
    fn missing_file_is_an_error_only_when_named() {
        let missing = Path::new("/nowhere/remitd.toml");
        assert!(matches!(Settings::load(Some(missing)), Err(SettingsError::Read { .. })));
    }
}
