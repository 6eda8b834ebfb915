//! The guest's first root: busybox, a few modules, two scripts and the settings of this boot.
//! It must not know how the guest is started.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Guest, cpio::Archive, kernel::Kernel, modules, programs};
use crate::project::{root, target};

/// What must be there before the root is: its transport, the output's, the writable places.
const MODULES: [&str; 6] =
    ["virtio_pci", "virtio_console", "virtio_rng", "9p", "9pnet_virtio", "overlay"];

/// The places that are empty in the guest.
const EMPTY_PLACES: [&str; 5] = ["/tmp", "/run", "/srv", "/mnt", "/home"];

/// The applets that `root.sh` calls.
const APPLETS: [&str; 12] = [
    "cat",
    "chmod",
    "cp",
    "insmod",
    "ln",
    "mkdir",
    "mount",
    "rm",
    "sh",
    "switch_root",
    "umount",
    "[",
];

/// Makes the archive for a boot of `guest`.
///
/// # Errors
/// When busybox or a module can't be had.
pub(super) fn make(guest: &Guest, kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "memory", "modules", "newroot", "plain", "proc", "sys"] {
        archive.folder(folder);
    }
    let busybox = programs::path("busybox")?;
    let content =
        fs::read(&busybox).with_context(|| format!("cannot read `{}`", busybox.display()))?;
    archive.file("bin/busybox", &content);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let modules = modules::load_order(&kernel.modules(), &MODULES)?;
    for (place, module) in modules.iter().enumerate() {
        archive.file(&format!("modules/{place:02}"), module);
    }
    archive.file("init", include_bytes!("root.sh"));
    archive.file("guest.sh", include_bytes!("guest.sh"));
    archive.file("settings", &settings(guest, kernel)?);
    Ok(archive.finish())
}

/// What the scripts of this boot need to know, as shell code.
fn settings(guest: &Guest, kernel: &Kernel) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut line = |parts: &[&[u8]]| {
        text.extend(parts.concat());
        text.push(b'\n');
    };
    let kernel_folder = real(&kernel.folder)?;
    line(&[b"version=", &quote(&kernel.version)]);
    line(&[b"kernel=", &quote(&kernel_folder)]);
    let kmod = real(&programs::path("kmod")?)?;
    line(&[b"kmod=", &quote(&kmod)]);
    line(&[b"keep_all() {\n:"]);
    for folder in kept(guest, [&kernel_folder, &kmod])? {
        line(&[b"keep ", &quote(&folder)]);
    }
    line(&[b"}\nshare_all() {\n:"]);
    for (place, folder) in guest.shared.iter().enumerate() {
        line(&[b"share ", tag(place).as_bytes(), b" ", &quote(&real(folder)?)]);
    }
    line(&[b"}\nrun_command() {\ncd ", &quote(&guest.folder), b" || exit 127"]);
    // `env` by its path, so that the shell can't take an applet of its own for the command.
    let mut command = b"exec /usr/bin/env -i".to_vec();
    for (name, value) in &guest.environment {
        let setting = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat();
        command.push(b' ');
        command.extend(quote_bytes(&setting));
    }
    for word in &guest.command {
        command.push(b' ');
        command.extend(quote(word));
    }
    line(&[&command, b"\n}"]);
    Ok(text)
}

/// The 9p tag of a shared folder, by its place among them.
pub(super) fn tag(place: usize) -> String {
    format!("shared{place}")
}

/// The host's folders that must be seen in the guest and lie below a place that is empty there.
fn kept(guest: &Guest, cached: [&Path; 2]) -> Result<BTreeSet<PathBuf>> {
    let mut folders = vec![root(), target(), guest.folder.clone()];
    folders.extend(cached.map(|path| path.parent().unwrap_or(path).to_owned()));
    for (variable, below_home) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let set = std::env::var_os(variable).map(PathBuf::from);
        folders.extend(set.or_else(|| Some(std::env::home_dir()?.join(below_home))));
    }
    let path = guest.environment.iter().find(|(name, _)| name == "PATH");
    folders.extend(path.iter().flat_map(|(_, value)| std::env::split_paths(value)));
    let mut kept = BTreeSet::new();
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        let folder = real(&folder)?;
        let is_below = |place: &&str| folder.starts_with(place) && folder != Path::new(*place);
        if EMPTY_PLACES.iter().any(is_below) {
            kept.insert(folder);
        }
    }
    // Sorted: a folder comes after the one that holds it, which shows it already.
    let mut outermost: BTreeSet<PathBuf> = BTreeSet::new();
    for folder in kept {
        if !outermost.iter().any(|outer| folder.starts_with(outer)) {
            outermost.insert(folder);
        }
    }
    Ok(outermost)
}

/// A path without symbolic links, as the guest sees it too.
pub(super) fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("no such folder: `{}`", path.display()))
}

/// A word that the shell reads as it is.
fn quote(word: impl AsRef<OsStr>) -> Vec<u8> {
    quote_bytes(word.as_ref().as_encoded_bytes())
}

fn quote_bytes(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_word_with_quotes_stays_one_word() {
        assert_eq!(quote("it's $HOME"), b"'it'\\''s $HOME'");
    }
}
