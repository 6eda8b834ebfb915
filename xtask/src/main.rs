//! Builds, boots, demonstrates, tests and measures Remit.

mod agents;
mod apt;
mod attacks;
mod bench;
mod build;
mod demo;
mod hunt;
mod install;
mod process;
mod project;
mod say;
mod test;
mod tidy;
mod toolchain;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                         what Remit does, shown in a guest
  cargo xtask test                         unit tests here, integration tests on 6.12
  cargo xtask test rename --kernel 6.1     the tests whose name contains `rename`, on 6.1
  cargo xtask test --all-kernels           everything, on 6.12, 6.1, 6.18 and 7
  cargo xtask test --without all           what gets through when a hook is left out
  cargo xtask bench                        what Remit costs, beside other confinements
  cargo xtask attacks                      the attacks on all kernels, and their tables in `docs`
  cargo xtask agents                       real agents in a session, and what they are refused
  cargo xtask hunt --minutes 60            programs made at random, judged by what came of them
  cargo xtask vm -- remit doctor           one command in a guest
  cargo xtask vm --kernel 7 -- sh -c 'uname -r; exit 7'
  cargo xtask vm --icount -- ./measure     time that counts instructions
  sudo cargo xtask install                 onto this host

Environment:
  REMIT_CACHE              where downloads are kept (default: target/xtask)
  REMIT_DEBIAN             the URI of Debian's archive, where the machine names none
  REMIT_DEBIAN_SECURITY    the same for its security archive";

/// Builds, boots, demonstrates, tests and measures Remit; needs nothing but Rust and Debian's apt.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Vm(vm::Vm),
    Demo(demo::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Agents(agents::Agents),
    Attacks(attacks::Attacks),
    Hunt(hunt::Hunt),
    Tidy(tidy::Tidy),
    Install(install::Install),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build(build) => build.run()?,
        Command::Install(install) => install.run()?,
        Command::Vm(vm) => return vm.run().map(ExitCode::from),
        Command::Agents(agents) => return agents.run().map(success_if),
        Command::Attacks(attacks) => return attacks.run().map(success_if),
        Command::Hunt(hunt) => return hunt.run().map(success_if),
        Command::Demo(demo) => return demo.run().map(ExitCode::from),
        Command::Test(test) => return test.run().map(success_if),
        Command::Bench(bench) => return bench.run().map(success_if),
        Command::Tidy(tidy) => return tidy.run().map(success_if),
    }
    Ok(ExitCode::SUCCESS)
}

fn success_if(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
