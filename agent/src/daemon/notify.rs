//! Tells systemd the daemon's state (sd_notify(3)): one datagram each to `$NOTIFY_SOCKET`.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The daemon answers.
pub(super) fn ready() {
    send("READY=1");
}

/// The daemon stops.
pub(super) fn stopping() {
    send("STOPPING=1");
}

/// The daemon still works.
pub(super) fn alive() {
    send("WATCHDOG=1");
}

/// How often to send [`alive`]: twice in the time after which systemd restarts the daemon. `None` without a watchdog.
pub(super) fn interval() -> Option<Duration> {
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let for_us =
        env::var("WATCHDOG_PID").ok().is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    (for_us && micros > 0).then(|| Duration::from_micros(micros / 2))
}

fn send(state: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| {
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    });
    if let Err(error) = sent {
        tracing::warn!("can't tell systemd `{state}`: {error}");
    }
}
