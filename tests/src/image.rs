//! Images of file systems, and mounting them.

use std::{
    fs::{self, File},
    io::Write as _,
    process::Command,
};

use crate::outcome::Outcome;

/// An image of an empty FAT file system of 16 MiB: two tables of 16 bits, 512 entries in the root, clusters of 4
/// sectors.
///
/// # Panics
/// When it can't be written.
pub fn write_fat(path: &str) {
    let sector = 512;
    let tables = 32;
    let mut boot = vec![0; sector];
    boot[..11].copy_from_slice(b"\xeb\x3c\x90mkfs.fat");
    boot[11..13].copy_from_slice(&512u16.to_le_bytes());
    boot[13] = 4;
    boot[14] = 1;
    boot[16] = 2;
    boot[17..19].copy_from_slice(&512u16.to_le_bytes());
    boot[19..21].copy_from_slice(&32_768u16.to_le_bytes());
    boot[21] = 0xf8;
    boot[22..24].copy_from_slice(&(tables as u16).to_le_bytes());
    boot[24] = 32;
    boot[26] = 2;
    boot[38] = 0x29;
    boot[43..62].copy_from_slice(b"NO NAME    FAT16   ");
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut table = vec![0; sector * tables];
    table[..4].copy_from_slice(&[0xf8, 0xff, 0xff, 0xff]);
    let mut image = File::create(path).expect("an image can be made");
    image.set_len(32_768 * sector as u64).expect("it can be sparse");
    for part in [&boot, &table, &table] {
        image.write_all(part).expect("it can be written");
    }
}

/// Mounts an image on a folder, which is made.
///
/// # Errors
/// What the kernel says where it can't.
///
/// # Panics
/// When the folder can't be made.
pub fn mount(image: &str, kind: &str, folder: &str) -> Result<(), String> {
    // Nothing loads it by itself where `/dev/loop-control` is not there yet.
    Outcome::of(Command::new("modprobe").arg("loop"), &[]);
    fs::create_dir_all(folder).expect("the folder can be made");
    let mut command = Command::new("mount");
    let outcome = Outcome::of(command.args(["-t", kind, "-o", "loop", image, folder]), &[]);
    if outcome.is_success() { Ok(()) } else { Err(outcome.stderr) }
}
