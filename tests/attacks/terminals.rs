//! Terminals: typing for whoever reads next, and other people's.

use tests::Answer;

use crate::{
    catalogue::{Attack, attack, steps},
    scene::Scene,
};

pub(crate) fn attacks() -> Vec<Attack> {
    let type_in = |name, act| {
        attack(name, "file_ioctl", "file.ioctl", act, "terminal-control 21523 0").error("EPERM")
    };
    vec![
        type_in("type into one's terminal", "terminal-control 21522 120"),
        type_in("paste into a console", "terminal-control 21532 3").plain("ENOTTY"),
        attack(
            "have a terminal signal whoever has it",
            "file_ioctl",
            "file.ioctl",
            "terminal-control 21586 1",
            "terminal-control 21523 0",
        )
        .error("EPERM"),
        attack(
            "take over the console's output",
            "file_ioctl",
            "file.ioctl",
            "terminal-control 21533 0",
            "terminal-control 21523 0",
        )
        .privileged()
        .anywhere(),
        attack(
            "keep a terminal to oneself",
            "file_ioctl",
            "file.ioctl",
            "terminal-control 21516 0",
            "terminal-control 21523 0",
        )
        .anywhere(),
        attack(
            "open another process's terminal",
            "file_open",
            "file.open",
            steps(of_another),
            steps(of_one_s_own),
        )
        .not_stopped("a tool that covers `/dev/pts/**` covers the user's other terminals too"),
        attack(
            "read the screen of a console",
            "file_open",
            "file.open",
            "open-read /dev/vcs1",
            "open-read /dev/null",
        )
        .privileged(),
        attack(
            "open a console",
            "file_open",
            "file.open",
            "open-both /dev/tty1",
            "open-both /dev/null",
        )
        .privileged(),
    ]
}

fn of_another(scene: &mut Scene) -> Answer {
    let path = scene.outside("terminal-make").value();
    scene.ask(&format!("open-both {path}"))
}

fn of_one_s_own(scene: &mut Scene) -> Answer {
    let path = scene.ask("terminal-make").value();
    scene.ask(&format!("open-both {path}"))
}
