//! `cargo xtask build`: the toolchain parts, the kernel programs, the binaries.
//! Owns the folder `target/bpf`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::run,
    project::{cargo, make_folder, root, target, write},
    say, toolchain,
};

/// Builds the eBPF object, then `remitd` and `remit`, which embed it.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Build {
    /// Optimized binaries (the default).
    #[arg(long)]
    release: bool,

    /// Binaries with debug assertions, built faster.
    #[arg(long, conflicts_with = "release")]
    debug: bool,
}

impl Build {
    /// Builds everything.
    ///
    /// # Errors
    /// When a part of the toolchain can't be had, or something doesn't compile.
    pub(crate) fn run(self) -> Result<()> {
        let object = object()?;
        self.host(&object)?;
        say::step(format!("built {}", self.folder().display()));
        Ok(())
    }

    /// Where the binaries are.
    pub(crate) fn folder(self) -> PathBuf {
        target().join(if self.debug { "debug" } else { "release" })
    }

    /// Builds the binaries, which embed `object`.
    ///
    /// # Errors
    /// When they don't compile.
    pub(crate) fn host(self, object: &Path) -> Result<()> {
        say::step("building remitd and remit");
        let mut command = cargo();
        command.args(["build", "--package", "agent"]);
        if !self.debug {
            command.arg("--release");
        }
        run(command.env(OBJECT_VARIABLE, object))
    }
}

/// Where the daemon that can leave out hooks is, in the place of `remitd`.
pub(crate) fn hole_folder() -> PathBuf {
    target().join("hole")
}

/// Builds a daemon that can leave out hooks; the binaries of [`Build::folder`] stay what they are.
///
/// # Errors
/// When it doesn't compile.
pub(crate) fn hole(object: &Path) -> Result<()> {
    Build::default().host(object)?;
    say::step("building a remitd that can leave out hooks");
    let mut command = cargo();
    command.args(["build", "--release", "--package", "agent"]);
    command.args(["--features", "hole", "--bin", "remitd-hole"]);
    run(command.env(OBJECT_VARIABLE, object))?;
    let (from, folder) = (Build::default().folder(), hole_folder());
    make_folder(&folder)?;
    for (built, name) in [("remitd-hole", "remitd"), ("remit", "remit")] {
        let (built, copy) = (from.join(built), folder.join(name));
        fs::copy(&built, &copy).with_context(|| format!("cannot copy `{}`", built.display()))?;
    }
    Ok(())
}

/// The variable that tells the crate `agent` where the eBPF object lies.
pub(crate) const OBJECT_VARIABLE: &str = "REMIT_BPF_OBJECT";

/// Where the eBPF object is put.
pub(crate) fn object_path() -> PathBuf {
    target().join("bpf/remit-ebpf.o")
}

/// Builds the eBPF object; the file keeps its time when its content is the same, so that nothing
/// that embeds it is built again.
///
/// # Errors
/// When a part of the toolchain can't be had, or the programs don't compile.
pub(crate) fn object() -> Result<PathBuf> {
    let mut command = bpf_cargo("build")?;
    say::step("building the kernel programs");
    run(command.arg("--release"))?;
    let built = target().join("bpf/bpfel-unknown-none/release/remit-ebpf");
    let content = fs::read(&built).with_context(|| format!("cannot read `{}`", built.display()))?;
    let path = object_path();
    if fs::read(&path).is_ok_and(|old| old == content) {
        return Ok(path);
    }
    write(&path, content)?;
    Ok(path)
}

/// Cargo for the crate `agent-ebpf`: another target, and a `core` of its own.
///
/// # Errors
/// When a part of the toolchain can't be had.
pub(crate) fn bpf_cargo(subcommand: &str) -> Result<Command> {
    let folder = root().join("agent-ebpf");
    if !folder.join("src/main.rs").exists() {
        bail!("`agent-ebpf/src/main.rs` is missing: there are no kernel programs to build");
    }
    let source = toolchain::rust_source()?;
    let linker = toolchain::bpf_linker()?;
    let mut command = cargo();
    command.arg(subcommand).current_dir(folder);
    command.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"]);
    command.env("CARGO_TARGET_DIR", target().join("bpf"));
    // A stable compiler takes `-Z` for this one build; aya's programs need nothing else unstable.
    command.env("RUSTC_BOOTSTRAP", "1");
    // What is built bit by bit is other code than what is built at once.
    command.env("CARGO_INCREMENTAL", "0");
    if let Some(library) = source.elsewhere {
        command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    // bpf-linker looks for the compiler's LLVM here.
    command.env("LD_LIBRARY_PATH", toolchain::compiler_libraries()?);
    // BTF comes from debug information; aya-ebpf picks registers by `bpf_target_arch`.
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        // Atomic exchange came with the third version of the instruction set.
        "-Ctarget-cpu=v3".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ];
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    for name in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        command.env_remove(name);
    }
    Ok(command)
}
