//! Hooks behind others: where a capability is refused before the act itself is asked for, only audit mode
//! gets as far as that. Each then tells of what it would have refused.

use tests::{Incident, bed, incident, words};

const POLICY: &str = r#"
[tool.everything]
files = [{ paths = ["/**"], access = ["read", "write", "create", "delete", "exec", "connect"] }]
[profile.watched]
mode = "audit"
tools = ["system", "everything"]
"#;

#[test]
fn attacks_are_reported_by_each_hook_in_audit_mode() {
    bed().policy(POLICY);
    let folder = bed().folder("attacks-audited");
    for name in ["a", "b"] {
        std::fs::create_dir(folder.join(name)).expect("a folder can be made");
    }
    let file = folder.join("module");
    std::fs::write(&file, "no module").expect("a file can be written");
    let (a, b) = (folder.join("a"), folder.join("b"));
    let (session, answers) = bed().session("watched").probe(&[
        words!["mount-tmpfs", a],
        words!["mount-move", a, b],
        // Neither is a mount: it fails after it was asked for.
        words!["pivot-root", folder, folder],
        words!["umount", b],
        words!["module", file],
        words!["module-image"],
        words!["bpf", "next-program"],
        words!["perf"],
    ]);
    let errors: Vec<_> = answers.iter().map(tests::Answer::error).collect();
    assert_eq!(errors, ["", "", "EINVAL", "", "ENOEXEC", "ENOEXEC", "", ""]);
    let incidents = session.incidents();
    let told = |operation: &str, key: &str, value: &str| {
        incidents.iter().any(|found: &Incident| {
            let object = found.object.get(key).map(ToString::to_string).unwrap_or_default();
            found.operation == operation
                && found.verdict == "would_deny"
                && (value.is_empty() || object.trim_matches('"') == value)
        })
    };
    let missing: Vec<_> = [
        ("sb_mount", "priv.mount", "call", "mount"),
        ("move_mount", "priv.mount", "call", "move_mount"),
        ("sb_pivotroot", "priv.mount", "call", "pivot_root"),
        ("sb_umount", "priv.mount", "call", "umount"),
        ("kernel_read_file", "priv.module", "", ""),
        ("kernel_load_data", "priv.module", "", ""),
        ("bpf", "priv.bpf", "", ""),
        ("perf_event_open", "priv.perf", "", ""),
        ("capable", "priv.capability", "capability", "sys_module"),
    ]
    .into_iter()
    .filter(|(_, operation, key, value)| !told(operation, key, value))
    .map(|(hook, ..)| hook)
    .collect();
    let modules: u64 = incidents
        .iter()
        .filter(|found| found.operation == "priv.module")
        .map(|found| found.count)
        .sum();
    let list = incident::list(&incidents);
    assert!(missing.is_empty(), "not told by {missing:?}:\n{list}");
    assert_eq!(modules, 2, "from a file and from memory:\n{list}");
}
