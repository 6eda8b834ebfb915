//! Builds, boots, demonstrates and tests Remit.
fn main() {}
