//! Tests of the command line as a whole.

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words.split(' '))
}

#[test]
fn command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn command_of_the_design_is_parsed() {
    for words in [
        "remit run --profile coder --task fix --workdir . --ttl 1h --name n --var K=V \
         --pass-fd 3 -- ls -l",
        "remit step --tool github --ttl 2m -- git push",
        "remit attach --profile p --pid 1",
        "remit session list --json",
        "remit session show s",
        "remit session tree s",
        "remit session quarantine s",
        "remit session resume s",
        "remit session end s --kill",
        "remit grant s github --ttl 10m --reason x",
        "remit revoke s github",
        "remit revoke s --all",
        "remit request github --ttl 5m --reason x --wait",
        "remit requests list --json",
        "remit requests approve 1",
        "remit requests deny 1",
        "remit whoami",
        "remit policy check",
        "remit policy check dir",
        "remit policy push a.toml b",
        "remit policy reload --dry-run",
        "remit policy explain s read /x",
        "remit policy review",
        "remit policy learn s",
        "remit incidents --session s --since 1h --operation o --reason r --follow --json",
        "remit incidents show i",
        "remit incidents summary",
        "remit incidents verify",
        "remit top",
        "remit doctor",
        "remit teardown --yes",
        "remit completions bash",
        "remit session list --socket /x",
    ] {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(parse(&words).is_ok(), "{words}: {:?}", parse(&words).err());
    }
}

#[test]
fn command_with_wrong_usage_is_refused() {
    for words in [
        "remit",
        "remit rnu",
        "remit run --profile p",
        "remit run --profile p --var novalue -- ls",
        "remit revoke s",
        "remit revoke s github --all",
        "remit grant s github --reason x",
        "remit incidents --all --kind control",
    ] {
        assert!(parse(words).is_err(), "{words}");
    }
}

#[test]
fn command_help_has_examples_and_marks_what_is_not_there_yet() {
    fn visit(command: &clap::Command, path: &str) {
        let name = format!("{path} {}", command.get_name());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let is_nested_later = path.ends_with("requests");
        assert!(help.contains("Example") || is_nested_later, "{name} has no example");
        for later in ["step", "attach", "request", "tree", "top", "learn", "review"] {
            if command.get_name() == later {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                assert!(about.contains("(not there yet)"), "{name}");
            }
        }
        command.get_subcommands().for_each(|command| visit(command, &name));
    }
    visit(&Cli::command(), "");
}
