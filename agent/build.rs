//! Embeds the eBPF object that `cargo xtask build` made, named by `REMIT_BPF_OBJECT`. Without it the
//! crate still builds, so that editors and lints work, and the daemon says that it has no programs.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=REMIT_BPF_OBJECT");
    let out =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("remit-ebpf.o");
    match env::var_os("REMIT_BPF_OBJECT") {
        Some(object) => {
            let object = PathBuf::from(object);
            println!("cargo::rerun-if-changed={}", object.display());
            fs::copy(&object, &out)
                .unwrap_or_else(|error| panic!("can't read `{}`: {error}", object.display()));
        }
        None => fs::write(&out, b"").expect("OUT_DIR is writable"),
    }
}
