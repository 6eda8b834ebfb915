//! Where an attack takes place: a process in a session (or in none), another outside of it, files and
//! servers.

use std::{
    ffi::OsString,
    fs,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tests::{
    Answer, Incident, Interactive, Outcome, Running, bed, layout, outcome::eventually, words,
};

use crate::servers;

/// What a process does.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// An operation of the probe, in the words of [`Scene::words`].
    Words(&'static str),
    /// Several steps, by the process and by others.
    Steps(fn(&mut Scene) -> Answer),
}

impl From<&'static str> for Act {
    fn from(words: &'static str) -> Self {
        Self::Words(words)
    }
}

/// An act of several steps.
pub(crate) fn steps(steps: fn(&mut Scene) -> Answer) -> Act {
    Act::Steps(steps)
}

/// In force for all attacks. `games` is the ordinary user.
const POLICY: &str = r#"
[tool.work]
files = [
  { paths = ["/srv/test/attacks/*/*/rw/**"], access = ["read", "write", "create", "delete"] },
  { paths = ["/srv/test/attacks/*/*/ro/**"], access = ["read"] },
  { paths = ["/srv/test/attacks/*/*/one/*"], access = ["read", "write", "create", "delete"] },
  { paths = ["/srv/test/attacks/*/*/run/**"], access = ["read", "exec"] },
  { paths = ["/srv/test/sockets/open/**"], access = ["connect"] },
]
network = [
  { cidrs = ["127.0.0.1/32"], ports = [7301] },
  { cidrs = ["127.0.0.1/32"], ports = [7301], protocol = "udp" },
  { cidrs = ["127.0.0.1/32", "0.0.0.0/32"], ports = [7311], direction = "listen" },
  { cidrs = ["127.0.0.1/32"], ports = [7311], protocol = "udp", direction = "listen" },
]

[tool.lent]
files = [
  { paths = ["/srv/test/attacks/*/*/lent/**"], access = ["read", "write", "create", "delete"] },
  { paths = ["/srv/test/sockets/lent/**"], access = ["connect"] },
]
network = [
  { cidrs = ["127.0.0.1/32"], ports = [7303, 7314] },
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7303], protocol = "udp" },
  { cidrs = ["127.0.0.1/32"], ports = [7313, 7314], direction = "listen" },
]

# Its set-id programs keep their privilege.
[tool.trusted]
files = [{ paths = ["/srv/test/attacks/*/*/run/trusted"], access = ["read", "exec"] }]
setid = true

[tool.terminals]
files = [{ paths = ["/dev/ptmx", "/dev/pts/**"], access = ["read", "write"] }]

# Nobody holds it.
[tool.shut]
files = [{ paths = ["/srv/test/attacks/*/*/no/**"],
           access = ["read", "write", "create", "delete", "exec", "connect"] }]

[[deny]]
paths = ["/srv/test/attacks/*/*/rw/secret/**", "/srv/test/attacks/*/*/rw/key",
         "/srv/test/attacks/*/*/rw/newkey"]
access = ["read", "write", "create", "delete", "exec"]

[profile.agent]
tools = ["system", "work", "trusted"]
may_start = { users = ["games"] }

[profile.terminals]
tools = ["system", "work", "terminals"]
may_start = { users = ["games"] }

[profile.nothing]
tools = []
may_start = { users = ["games"] }
"#;

/// Numbers for keys of System V IPC and the like.
static KEYS: AtomicU32 = AtomicU32::new(70_000);

/// The folder of all attacks' files.
const FILES: &str = "/srv/test/attacks";

/// Settings of the kernel that would refuse by themselves what is to be refused by a hook.
const SETTINGS: &[(&str, &str)] = &[
    ("/proc/sys/kernel/yama/ptrace_scope", "0"),
    ("/proc/sys/kernel/perf_event_paranoid", "2"),
    ("/proc/sys/kernel/dmesg_restrict", "0"),
    ("/proc/sys/dev/tty/legacy_tiocsti", "1"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "1"),
];

/// As whom an attack is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "user",
        }
    }

    /// The numbers of the user and its group.
    fn ids(self) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Ordinary => (5, 60),
        }
    }

    /// What starts a command as the user.
    fn start(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Ordinary => &["setpriv", "--reuid=games", "--regid=games", "--clear-groups"],
        }
    }
}

/// Where attacks are tried, one after another.
pub(crate) struct Scene {
    user: User,
    /// The process that tries.
    probe: Interactive,
    /// A process outside of every session, of the same user.
    outsider: Interactive,
    /// Root, outside of every session.
    operator: Interactive,
    /// Whether the process is of a session.
    tagged: bool,
    /// Where the files of all attacks of this scene lie.
    place: PathBuf,
    folder: PathBuf,
    /// Further paths that an incident may name.
    named: Vec<String>,
    /// The process outside that was spoken of last.
    pub(crate) victim: Option<u32>,
    /// A number of the attack's own.
    key: u32,
    /// What was made before the attack, as its maker was told.
    pub(crate) made: String,
    /// Sessions that attacks try to change.
    bystanders: Vec<Running>,
}

impl Scene {
    /// A scene for the attacks of a group.
    pub(crate) fn new(group: &str, user: User, tagged: bool) -> Self {
        prepare();
        let kind = if tagged { "" } else { "-untagged" };
        let place = Path::new(FILES).join(format!("{group}-{}{kind}", user.name()));
        Self::at(place, group, user, tagged)
    }

    /// A scene in a session, where none was before.
    pub(crate) fn anew(group: &str, user: User) -> Self {
        let number = KEYS.fetch_add(2, Ordering::Relaxed);
        Self::at(Path::new(FILES).join(format!("{group}-{number}")), group, user, true)
    }

    fn at(place: PathBuf, group: &str, user: User, tagged: bool) -> Self {
        let profile = if group == "terminals" { "terminals" } else { "agent" };
        let probe = if tagged {
            bed().session(profile).through(user.start()).interactive()
        } else {
            Interactive::untagged_through(user.start())
        };
        Self {
            user,
            probe,
            outsider: Interactive::untagged_through(user.start()),
            operator: Interactive::untagged(),
            tagged,
            folder: place.clone(),
            place,
            named: Vec::new(),
            victim: None,
            key: 0,
            made: String::new(),
            bystanders: Vec::new(),
        }
    }

    /// Whether the process that tries is of a session.
    pub(crate) fn is_tagged(&self) -> bool {
        self.tagged
    }

    /// A further process of the user's, outside of every session.
    pub(crate) fn another(&self) -> Interactive {
        Interactive::untagged_through(self.user.start())
    }

    /// Files of an attack's own: `rw`, `ro`, `no`, `one`, `lent` and `run` with the same in each; of `rw`, `key`
    /// and `secret` are denied.
    pub(crate) fn lay_out(&mut self, attack: &str) {
        let name: String =
            attack.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.folder = self.place.join(&name[..name.len().min(60)]);
        self.named.clear();
        self.victim = None;
        self.key = KEYS.fetch_add(2, Ordering::Relaxed);
        if self.folder.exists() {
            layout::empty(&self.folder);
        }
        let mut all = vec![self.folder.clone()];
        for area in ["rw", "ro", "no", "one", "lent", "run", "rw/secret"] {
            let area = self.folder.join(area);
            for folder in ["folder", "empty"] {
                fs::create_dir_all(area.join(folder)).expect("a folder can be made");
            }
            for file in ["file", "second", "folder/inner"] {
                fs::write(area.join(file), "content").expect("a file can be written");
            }
            fs::write(area.join("true"), program()).expect("a program can be written");
            fs::set_permissions(area.join("true"), fs::Permissions::from_mode(0o755))
                .expect("the mode can be changed");
            symlink("file", area.join("link")).expect("a link can be made");
            let more = ["", "folder", "empty", "file", "second", "folder/inner", "true"];
            all.extend(more.map(|name| area.join(name)));
        }
        let key = self.folder.join("rw/key");
        fs::write(&key, "key").expect("a file can be written");
        all.push(key);
        let (user, group) = self.user.ids();
        if user != 0 {
            for path in all {
                chown(path, Some(user), Some(group)).expect("root may give files away");
            }
        }
    }

    /// The words of an operation: `@` at the beginning of a word or after `=` stands for the attack's
    /// folder, `{…}` for what [`Scene::value`] says.
    pub(crate) fn words(&mut self, text: &str) -> Vec<OsString> {
        let folder = format!("{}/", self.folder.display());
        let mut all = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let mut word = match word.strip_prefix('@') {
                Some(rest) => format!("{folder}{rest}"),
                None => word.replace("=@", &format!("={folder}")),
            };
            while let (Some(open), Some(close)) = (word.find('{'), word.find('}'))
                && open < close
                && !word.contains('"')
            {
                let value = self.value(&word[open + 1..close]);
                word.replace_range(open..=close, &value);
            }
            // Names that are no text.
            let bytes = word.into_bytes();
            let bytes = bytes.into_iter().map(|byte| if byte == b'\x01' { 0xff } else { byte });
            all.push(OsString::from_vec(bytes.collect()));
        }
        all
    }

    fn value(&mut self, name: &str) -> String {
        match name {
            "at" => self.folder.display().to_string(),
            "uid" => self.user.ids().0.to_string(),
            "gid" => self.user.ids().1.to_string(),
            "socket" => layout::SOCKET.to_owned(),
            "session" if self.tagged => self.probe.name.clone(),
            "session" | "bystander" => {
                let running = bed().session("agent").spawn(["sleep", "600"]);
                let name = running.name.clone();
                self.bystanders.push(running);
                name
            }
            "key" => self.key.to_string(),
            "own-key" => (self.key + 1).to_string(),
            "made" => self.made.clone(),
            "daemon" => {
                let pid = bed().daemon_pid().unwrap_or_default();
                self.victim = Some(pid);
                pid.to_string()
            }
            // A process outside, one for each time that it is asked for, and its mark's address.
            "victim" | "victim-mark" => {
                let child = self.outsider.ask(words!["victim"]).value();
                let (pid, mark) = child.split_once(' ').expect("two numbers");
                let text =
                    if name == "victim" { pid.to_owned() } else { format!("{pid}\x02{mark}") };
                self.named.push(format!("/proc/{pid}"));
                self.victim = pid.parse().ok();
                text
            }
            // That of the words before.
            "same" => self.victim.unwrap_or_default().to_string(),
            // The beginning of an abstract name.
            "abstract" => "@".to_owned(),
            // Names that are long, and that are no text.
            "long" => "n".repeat(255),
            "name-of-80" => "n".repeat(80),
            "raw" => "\x01\x01".to_owned(),
            other => panic!("no value `{other}`"),
        }
    }

    /// What the process does.
    pub(crate) fn act(&mut self, act: Act) -> Answer {
        match act {
            Act::Words(text) => self.ask(text),
            Act::Steps(steps) => steps(self),
        }
    }

    /// What an incident of an act may name.
    pub(crate) fn paths(&mut self, act: Act) -> Vec<String> {
        let mut paths = std::mem::take(&mut self.named);
        paths.push(self.folder.display().to_string());
        if let Act::Words(text) = act {
            let words = text.split([' ', '=']).filter(|word| word.starts_with('/'));
            paths.extend(words.filter(|word| !word.contains('{')).map(str::to_owned));
            if text.contains("{socket}") {
                paths.push(layout::SOCKET.to_owned());
            }
        }
        paths
    }

    /// Tells the process that tries what to do.
    pub(crate) fn ask(&mut self, text: &str) -> Answer {
        let words = split_marks(self.words(text));
        self.probe.ask(words)
    }

    /// Tells the process outside of every session, of the same user, what to do.
    pub(crate) fn outside(&mut self, text: &str) -> Answer {
        let words = split_marks(self.words(text));
        self.outsider.ask(words)
    }

    /// Tells root, outside of every session, what to do.
    pub(crate) fn operator(&mut self, text: &str) -> Answer {
        let words = split_marks(self.words(text));
        self.operator.ask(words)
    }

    /// Gives the session the tool `lent`.
    pub(crate) fn lend(&mut self) {
        if self.tagged {
            let path = format!("/v1/sessions/{}/grants", self.probe.name);
            let body = r#"{"tool": "lent", "ttl": "1h", "reason": "test"}"#;
            let answer = self.operator.ask(words!["http", layout::SOCKET, "POST", path, body]);
            assert!(answer.value().starts_with("200"), "the tool is granted");
        }
    }

    /// Takes the tool `lent` from the session.
    pub(crate) fn take_back(&mut self) {
        if self.tagged {
            let path = format!("/v1/sessions/{}/grants/lent", self.probe.name);
            let answer = self.operator.ask(words!["http", layout::SOCKET, "DELETE", path]);
            assert!(answer.value().starts_with("200"), "the tool is revoked");
        }
    }

    /// The incidents of the session: all, so one more is made and waited for. (A flood of them takes the daemon
    /// a while.)
    pub(crate) fn incidents(&mut self) -> Vec<Incident> {
        let last = self.place.join("last");
        fs::create_dir_all(&self.place).expect("a folder can be made");
        fs::write(&last, "").expect("a file can be written");
        let answer = self.probe.ask(words!["open-read", &last]);
        assert_eq!(answer.error(), "EACCES", "no tool covers it");
        eventually("the last incident", Duration::from_secs(60), || {
            let incidents = self.probe.incidents();
            let is_last = |incident: &Incident| Path::new(incident.path()) == last;
            incidents.iter().any(is_last).then_some(incidents)
        })
    }
}

/// The content of `true`, read once.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| fs::read("/usr/bin/true").expect("every system has it"))
}

/// A process and its mark are two words.
fn split_marks(words: Vec<OsString>) -> Vec<OsString> {
    let split = |word: OsString| {
        let bytes = word.into_vec();
        bytes.split(|byte| *byte == 2).map(|part| OsString::from_vec(part.into())).collect()
    };
    words.into_iter().flat_map(|word| -> Vec<OsString> { split(word) }).collect()
}

/// The folders, the policy and the servers; once for all scenes.
pub(crate) fn prepare() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        bed();
        layout::empty(Path::new(FILES));
        for (path, value) in SETTINGS {
            if Path::new(path).exists() {
                fs::write(path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        }
        // Everybody reaches what is granted by the policy.
        fs::set_permissions("/dev/ptmx", fs::Permissions::from_mode(0o666))
            .expect("root may change the mode");
        in_force();
        servers::start();
    });
}

/// Puts the policy of the attacks in force.
pub(crate) fn in_force() {
    bed().policy(POLICY);
}

/// Puts a policy in force whose tool `lent` covers nothing.
pub(crate) fn in_force_without_list() {
    let begin = POLICY.find("[tool.lent]").expect("the tool is there");
    let end = POLICY.find("# Its set-id programs").expect("the next tool is there");
    bed().policy(&format!("{}[tool.lent]\n\n{}", &POLICY[..begin], &POLICY[end..]));
}

/// Asks for a policy with more labels than there may be: each path is of another pair of tools.
pub(crate) fn too_many_labels() -> Outcome {
    let mut text = String::from("schema = 1\n");
    text.push_str(POLICY);
    for tool in 0..190 {
        text.push_str(&format!("[tool.full-{tool}]\nfiles = [{{ access = [\"read\"], paths = ["));
        for other in 0..190 {
            let (low, high) = (u32::min(tool, other), u32::max(tool, other));
            text.push_str(&format!("\"/srv/full/{low}/{high}\","));
        }
        text.push_str("] }]\n");
    }
    let path = Path::new(layout::POLICY).join("50-test.toml");
    fs::write(path, text).expect("the policy can be written");
    bed().remit(["policy", "reload"])
}
