use agent::incident::pipeline::EventSource;
use agent::{
    bpf::{
        Enforcer, Kernel,
        load::{self, Pins},
    },
    policy::{self, compile::*, tools::ToolBits},
};
use agent_common::{access::*, authority::*, id::*};
use std::{collections::BTreeMap, os::fd::AsFd};
fn main() {
    tracing_subscriber::fmt().with_env_filter("agent=info").init();
    let pins = Pins::new(std::path::Path::new("/sys/fs/bpf/remit"));
    let start = match load::start(&pins, None) {
        Ok(s) => s,
        Err(e) => {
            use std::error::Error;
            let mut s: Option<&dyn Error> = Some(&e);
            while let Some(e) = s {
                let t = e.to_string();
                println!("ERR {}", &t[t.len().saturating_sub(6000)..]);
                s = e.source();
            }
            std::process::exit(1)
        }
    };
    println!("{start:?}");
    let mut kernel = Kernel::open(&pins).unwrap();
    let args: Vec<String> = std::env::args().collect();
    let sources = vec![policy::Source {
        path: "x.toml".into(),
        text: std::fs::read_to_string(&args[1]).unwrap(),
    }];
    let policy = policy::check(&sources)
        .map_err(|d| {
            for d in d {
                println!("{d}")
            }
        })
        .unwrap();
    let mut bits = ToolBits::default();
    bits.assign(policy.tools.keys().map(String::as_str), &ToolSet::EMPTY).unwrap();
    let mut compiled =
        Compiled::new(&policy, &bits, &Builtin { deny: vec![], always: vec![] }).unwrap();
    let mut vars = BTreeMap::new();
    vars.insert("workdir".to_string(), "/tmp/work".to_string());
    let rules = compiled.instantiate(Slot(3), &vars).unwrap();
    let tables = compiled.tables(&[&rules]);
    println!("edges {} labels {}", tables.rules.edges.len(), tables.rules.labels.len());
    kernel.activate(Generation(1), &tables).unwrap();
    let mut tools = ToolSet::EMPTY;
    for t in ["base", "workspace"] {
        tools.insert(bits.bit(t).unwrap());
    }
    let session = Session {
        id: SessionId(77),
        expires: BootNanos::NEVER,
        nearest_expiry: BootNanos::NEVER,
        tools,
        parent_id: SessionId(0),
        parent: Slot::NONE,
        state: State::Active as u32,
        mode: Mode::Enforce as u32,
        reserved: 0,
    };
    let expiries = [BootNanos::NEVER; 256];
    kernel.write_session(Slot(3), &session, &expiries).unwrap();
    let mut events = Kernel::events(&pins).unwrap();
    use std::os::unix::process::CommandExt;
    let mut child = std::process::Command::new("sh");
    child.arg("-c").arg(&args[2]);
    unsafe {
        child.pre_exec(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            Ok(())
        })
    };
    // tag from a thread: the child sleeps in pre_exec, so spawn blocks; tag via a helper thread scanning
    let me = std::process::id();
    let (tx, rx) = std::sync::mpsc::channel();
    let t = std::thread::spawn(move || {
        let s = child.status();
        tx.send(s).unwrap();
    });
    std::thread::sleep(std::time::Duration::from_millis(120));
    let kids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|p| {
            std::fs::read_to_string(format!("/proc/{p}/stat")).is_ok_and(|s| {
                s.rsplit(')').next().unwrap().split_whitespace().nth(1) == Some(&me.to_string())
            })
        })
        .collect::<Vec<_>>();
    println!("kids {kids:?}");
    let fd = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(kids[0] as i32).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    kernel.tag(fd.as_fd(), Tag { session: SessionId(77), slot: Slot(3), reserved: 0 }).unwrap();
    println!("{:?}", rx.recv().unwrap());
    t.join().unwrap();
    let n = events.peek(&mut |r| println!("{:?}", agent::incident::decode::decode(r)));
    events.release(n);
    println!("{n} events, lost {:?} tasks {:?}", events.lost(), kernel.tasks_of(Slot(3)));
}
