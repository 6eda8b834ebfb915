//! What came of the attacks, written where `cargo xtask attacks` finds it.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use tests::layout;

use crate::{catalogue::Attack, scene::User};

/// What came of one attack.
pub(crate) struct Record {
    pub(crate) stopped: bool,
    pub(crate) control_passed: bool,
    pub(crate) hook: Option<String>,
    pub(crate) reason: String,
}

impl Record {
    fn json(&self, group: &str, attack: &Attack, user: User) -> Value {
        json!({
            "attack": attack.name,
            "group": group,
            "hook": self.hook,
            "user": user.name(),
            "kernel": layout::kernel(),
            "result": if self.stopped { "stopped" } else { "not_stopped" },
            "control": if self.control_passed { "passed" } else { "failed" },
            "reason": self.reason,
        })
    }
}

/// Writes down what came of a group's attacks, where the run keeps it.
///
/// # Panics
/// When it can't.
pub(crate) fn keep(group: &str, user: User, attacks: &[Attack], records: &[Record]) {
    let Some(folder) = env::var_os("REMIT_ATTACKS") else { return };
    let folder = Path::new(&folder).join(layout::kernel());
    fs::create_dir_all(&folder).expect("the folder for results can be made");
    let list: Vec<Value> = attacks
        .iter()
        .zip(records)
        .map(|(attack, record)| record.json(group, attack, user))
        .collect();
    let text = serde_json::to_string_pretty(&list).expect("values are JSON");
    let path = folder.join(format!("{group}-{}.json", user.name()));
    fs::write(path, text).expect("the results can be written");
}
