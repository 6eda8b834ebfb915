//! Builds, boots, demonstrates and tests Remit.

mod apt;
mod build;
mod process;
mod project;
mod say;
mod toolchain;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, boots, demonstrates and tests Remit; needs nothing but Rust and Debian's apt.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_version_flag = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Vm(vm::Vm),
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
        Command::Vm(vm) => return vm.run().map(ExitCode::from),
    }
    Ok(ExitCode::SUCCESS)
}
