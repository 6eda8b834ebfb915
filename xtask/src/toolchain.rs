//! What it takes to compile Rust to BPF with a stable compiler: the standard library's source and
//! the linker. Owns the folders `rust-src` and `tools` of the cache.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use anyhow::{Context as _, Result};

use crate::{
    apt::Lists,
    process::{capture, capture_text, find, run},
    project::{cache, cargo, make_whole, root},
    say,
};

/// The release that links with the LLVM of the compiler itself; from 0.11 on it needs the system's.
const BPF_LINKER: &str = "0.10.3";

/// Where the source of the standard library was found.
pub(crate) struct RustSource {
    /// The folder `library`, where it is not the toolchain's own.
    pub(crate) elsewhere: Option<PathBuf>,
}

/// Finds the source of `core`: in the toolchain, else through rustup, else Debian's package.
///
/// # Errors
/// When none of the three has it for this compiler.
pub(crate) fn rust_source() -> Result<RustSource> {
    let own = sysroot()?.join("lib/rustlib/src/rust/library");
    if is_library(&own) {
        say_source("the toolchain's own component");
        return Ok(RustSource { elsewhere: None });
    }
    let version = compiler_version()?;
    let folder = cache()?.join("rust-src").join(&version);
    let library = folder.join(format!("usr/src/rustc-{version}/library"));
    if !is_library(&library) {
        if add_component() && is_library(&own) {
            say_source("added to the toolchain by rustup");
            return Ok(RustSource { elsewhere: None });
        }
        unpack_debian(&version, &folder)?;
    }
    say_source(&format!("Debian's package for {version}, unpacked in the cache"));
    Ok(RustSource { elsewhere: Some(library) })
}

/// The path of `bpf-linker`, installed into the cache when it isn't there.
///
/// # Errors
/// When cargo can't install it.
pub(crate) fn bpf_linker() -> Result<PathBuf> {
    let tools = cache()?.join("tools");
    let linker = tools.join("bin/bpf-linker");
    let version = capture_text(Command::new(&linker).arg("--version")).unwrap_or_default();
    if version.split_whitespace().any(|word| word == BPF_LINKER) {
        return Ok(linker);
    }
    say::step(format!(
        "installing bpf-linker {BPF_LINKER} into the cache (some 60 crates, a minute or two)"
    ));
    let mut install = cargo();
    // Without optimization: its work is LLVM's, which is the compiler's own.
    install.args(["install", "--quiet", "--locked", "--debug", "--root"]).arg(&tools);
    run(install.args(["bpf-linker", "--version", BPF_LINKER]))?;
    Ok(linker)
}

/// Says once where the source is from.
fn say_source(source: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| say::step(format!("rust-src: {source}")));
}

fn add_component() -> bool {
    if find("rustup").is_none() {
        return false;
    }
    say::step("rust-src: trying `rustup component add rust-src`");
    let mut command = Command::new("rustup");
    command.args(["component", "add", "rust-src"]).current_dir(root());
    capture(&mut command).is_ok()
}

fn unpack_debian(version: &str, folder: &Path) -> Result<()> {
    let prefix = format!("{version}+");
    for suite in ["trixie-backports", "trixie", "sid"] {
        let lists = Lists::of(&[suite])?;
        let versions = lists.versions("rust-src")?;
        let Some(found) = versions.iter().find(|found| found.starts_with(&prefix)) else {
            continue;
        };
        return make_whole(folder, |part| lists.unpack(&[&format!("rust-src={found}")], part));
    }
    anyhow::bail!(
        "no source of Rust's library for rustc {version}: `rustup component add rust-src` failed \
         and Debian has no rust-src {version}"
    )
}

/// Whether a folder holds what `-Z build-std` reads.
fn is_library(folder: &Path) -> bool {
    folder.join("Cargo.lock").exists() && folder.join("core/src/lib.rs").exists()
}

/// The folder of the compiler's own libraries, its LLVM among them, which bpf-linker loads.
///
/// # Errors
/// When there is no compiler.
pub(crate) fn compiler_libraries() -> Result<PathBuf> {
    Ok(sysroot()?.join("lib"))
}

fn sysroot() -> Result<PathBuf> {
    let mut command = Command::new("rustc");
    command.args(["--print", "sysroot"]).current_dir(root());
    Ok(PathBuf::from(capture_text(&mut command)?.trim()))
}

/// The compiler's version, `1.95.0`.
fn compiler_version() -> Result<String> {
    let mut command = Command::new("rustc");
    let text = capture_text(command.arg("-vV").current_dir(root()))?;
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    release.map(str::to_owned).context("`rustc -vV` names no release")
}
