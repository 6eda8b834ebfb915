//! The kernel modules that the guest needs before it has its root, in the order of their need.
//! Reads `modules.dep`; must not know what the modules do.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::programs;
use crate::process::capture;

/// The contents of the modules `wanted` and of all that they need, the needed ones first. One
/// that is built into the kernel is left out.
///
/// # Errors
/// When the folder has no index, or a module can't be read.
pub(crate) fn load_order(folder: &Path, wanted: &[&str]) -> Result<Vec<Vec<u8>>> {
    let index = folder.join("modules.dep");
    let text =
        fs::read_to_string(&index).with_context(|| format!("cannot read `{}`", index.display()))?;
    let mut paths = Vec::new();
    let needs = parse(&text);
    for name in wanted {
        let path = needs.keys().find(|path| module_name(path) == *name);
        if let Some(path) = path {
            add(path, &needs, &mut paths);
        }
    }
    paths.into_iter().map(|path| read(&folder.join(path))).collect()
}

/// Each module's path with the paths of those that it needs.
fn parse(text: &str) -> HashMap<&str, Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(path, needed)| (path, needed.split_whitespace().collect())).collect()
}

fn add<'a>(path: &'a str, needs: &HashMap<&'a str, Vec<&'a str>>, order: &mut Vec<&'a str>) {
    if order.contains(&path) {
        return;
    }
    for needed in needs.get(path).into_iter().flatten() {
        add(needed, needs, order);
    }
    order.push(path);
}

/// `kernel/fs/9p/9p.ko.xz` → `9p`, with `-` read as `_`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// A module's content, decompressed.
fn read(path: &Path) -> Result<Vec<u8>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("ko") => fs::read(path).with_context(|| format!("cannot read `{}`", path.display())),
        Some("xz") => capture(programs::command("xz")?.arg("-dc").arg(path)),
        Some("zst") => capture(programs::command("zstd")?.arg("-dcq").arg(path)),
        _ => bail!("unknown compression of `{}`", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_module_comes_after_what_it_needs() {
        let text = "fs/9p.ko: net/9pnet.ko fs/netfs.ko\nnet/9pnet.ko:\nfs/netfs.ko: fs/cache.ko\n";
        let mut order = Vec::new();
        add("fs/9p.ko", &parse(text), &mut order);
        assert_eq!(order, ["net/9pnet.ko", "fs/cache.ko", "fs/netfs.ko", "fs/9p.ko"]);
    }

    #[test]
    fn module_name_is_without_folder_and_extension() {
        assert_eq!(module_name("kernel/drivers/virtio-rng.ko.xz"), "virtio_rng");
    }
}
