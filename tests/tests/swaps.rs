//! Policies and names that change while a session opens files: nothing wrongly refused, nothing wrongly
//! allowed.

use std::{
    fs,
    time::{Duration, Instant},
};

use tests::{Counts, Interactive, bed, layout, words};

const ALLOWED: &str = "/srv/test/swaps/allowed/file";
const FORBIDDEN: &str = "/srv/test/swaps/forbidden/file";

fn policy(filler: u32) -> String {
    format!(
        r#"
        [tool.allowed]
        files = [{{ paths = ["/srv/test/swaps/allowed/**"], access = ["read"] }}]
        [tool.forbidden]
        files = [{{ paths = ["/srv/test/swaps/forbidden/**"], access = ["read"] }}]
        [tool.filler{filler}]
        files = [{{ paths = ["/srv/filler{filler}/**"], access = ["read"] }}]
        [profile.p]
        tools = ["system", "allowed"]
        "#
    )
}

/// How often a policy is swapped, and for how long at most: the long form where `REMIT_LONG` is set.
fn swaps() -> (u32, Duration) {
    if layout::is_long() {
        (1000, Duration::from_secs(3600))
    } else {
        (100, Duration::from_secs(60))
    }
}

#[test]
fn policy_swapped_under_load_is_never_torn() {
    bed().policy(&policy(0));
    let folder = bed().folder("swaps");
    for place in ["allowed", "forbidden"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
    let mut probe = bed().session("p").interactive();
    probe.ask(words!["start", "allowed", "0", "read", ALLOWED]);
    probe.ask(words!["start", "forbidden", "2000", "read", FORBIDDEN]);
    let mut operator = Interactive::untagged();
    let (most, limit) = swaps();
    let (begin, mut done) = (Instant::now(), 0);
    let place = format!("{}/50-test.toml", layout::POLICY);
    while done < most && begin.elapsed() < limit {
        done += 1;
        let text = format!("schema = 1\n{}", policy(done % 2));
        fs::write(&place, text).unwrap();
        let reload = words!["http", layout::SOCKET, "POST", "/v1/policy/reload"];
        let answer = operator.ask(reload).value();
        assert!(answer.starts_with("200 "), "swap {done}: {answer}");
    }
    eprintln!("{done} swaps in {} ms", begin.elapsed().as_millis());
    let allowed = Counts::from(probe.ask(words!["stop", "allowed"]));
    let forbidden = Counts::from(probe.ask(words!["stop", "forbidden"]));
    assert_eq!((allowed.refused, allowed.other), (0, 0), "{allowed:?}");
    assert_eq!((forbidden.allowed, forbidden.other), (0, 0), "{forbidden:?}");
    assert!(allowed.allowed > 100 && forbidden.refused > 10, "{allowed:?} {forbidden:?}");
    assert!(done >= 50, "only {done} swaps within {limit:?}");
}

/// Renames back and forth while a session opens files, and counts what came of that.
fn while_renamed(probe: &mut Interactive, one: &str, other: &str, paths: &[String]) -> Vec<Counts> {
    let mut renamer = Interactive::untagged();
    renamer.ask(words!["start", "there", "0", "rename", one, other]);
    renamer.ask(words!["start", "back", "0", "rename", other, one]);
    for path in paths {
        probe.ask(words!["start", path, "0", "read", path]);
    }
    std::thread::sleep(Duration::from_secs(5));
    let counts = paths.iter().map(|path| probe.ask(words!["stop", path]).into()).collect();
    for name in ["there", "back"] {
        let renames = Counts::from(renamer.ask(words!["stop", name]));
        assert!(renames.allowed > 50, "{renames:?}");
    }
    counts
}

#[test]
fn file_below_a_renamed_folder_stays_allowed_under_both_names() {
    bed().policy(
        r#"
        [tool.both]
        files = [{ paths = ["/srv/test/renames/here/one/**", "/srv/test/renames/there/other/**"],
                   access = ["read"] }]
        [profile.p]
        tools = ["system", "both"]
        "#,
    );
    let folder = bed().folder("renames");
    for place in ["here/one/deep", "there"] {
        fs::create_dir_all(folder.join(place)).unwrap();
    }
    fs::write(folder.join("here/one/deep/file"), "x").unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let mut probe = bed().session("p").interactive();
    let paths = [path("here/one/deep/file"), path("there/other/deep/file")];
    let counts = while_renamed(&mut probe, &path("here/one"), &path("there/other"), &paths);
    for counts in counts {
        assert_eq!(counts.refused, 0, "{counts:?}");
        // Where it is under the other name, there is none of this.
        assert!(counts.allowed > 20, "{counts:?}");
    }
    assert_eq!(probe.incidents().len(), 0);
}

#[test]
fn path_that_never_was_is_never_allowed() {
    // The folder is `here/one` or `there/other`; the rules name the two that would be mixed of both.
    bed().policy(
        r#"
        [tool.mixed]
        files = [{ paths = ["/srv/test/mixed/here/other/**", "/srv/test/mixed/there/one/**",
                            "/srv/test/mixed/still/**"],
                   access = ["read"] }]
        [profile.p]
        tools = ["system", "mixed"]
        "#,
    );
    let folder = bed().folder("mixed");
    for place in ["here/one/deep", "there", "still"] {
        fs::create_dir_all(folder.join(place)).unwrap();
    }
    fs::write(folder.join("here/one/deep/file"), "x").unwrap();
    fs::write(folder.join("still/file"), "x").unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let mut probe = bed().session("p").interactive();
    let paths = [path("here/one/deep/file"), path("there/other/deep/file"), path("still/file")];
    let counts = while_renamed(&mut probe, &path("here/one"), &path("there/other"), &paths);
    for counts in &counts[..2] {
        assert_eq!(counts.allowed, 0, "{counts:?}");
        assert!(counts.refused > 20, "{counts:?}");
    }
    assert_eq!((counts[2].refused, counts[2].other), (0, 0), "beside it: {:?}", counts[2]);
    let incidents = probe.incidents();
    let named = |path: &String| incidents.iter().any(|incident| incident.path() == path);
    assert!(named(&paths[0]) || named(&paths[1]), "{}", tests::incident::list(&incidents));
}

/// Renames by others, however many: what has nothing to do with them is decided all the same.
#[test]
fn file_that_is_not_renamed_is_opened_during_a_flood_of_renames() {
    bed().policy(
        r#"
        [tool.still]
        files = [{ paths = ["/srv/test/flood/still/**"], access = ["read"] }]
        [profile.p]
        tools = ["system", "still"]
        "#,
    );
    let folder = bed().folder("flood");
    let still = folder.join("still/one/two/three/four/five/six/seven");
    fs::create_dir_all(&still).unwrap();
    fs::write(still.join("file"), "x").unwrap();
    let mut renamer = Interactive::untagged();
    let flood = ["a", "b", "c", "d"];
    for name in flood {
        let (one, other) = (folder.join(name), folder.join(format!("{name}-other")));
        fs::create_dir(&one).unwrap();
        renamer.ask(words!["start", format!("{name}-there"), "0", "rename", one, other]);
        renamer.ask(words!["start", format!("{name}-back"), "0", "rename", other, one]);
    }
    let mut probe = bed().session("p").interactive();
    let (file, missing) = (still.join("file"), still.join("missing"));
    probe.ask(words!["start", "allowed", "0", "read", file]);
    probe.ask(words!["start", "absent", "0", "read", missing]);
    for name in ["allowed", "absent"] {
        probe.wait_for_turn(name, |counts| counts.allowed + counts.other > 500);
    }
    for name in flood {
        let renames = Counts::from(renamer.ask(words!["stop", format!("{name}-there")]));
        assert!(renames.allowed > 20, "{renames:?}");
        renamer.ask(words!["stop", format!("{name}-back")]);
    }
    for name in ["allowed", "absent"] {
        let counts = Counts::from(probe.ask(words!["stop", name]));
        assert_eq!(counts.refused, 0, "{name}: {counts:?}");
    }
    assert_eq!(probe.incidents().len(), 0);
}
