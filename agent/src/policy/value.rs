//! Values that are written as text: durations, ports, address ranges, host names, names.

use std::{net::IpAddr, str::FromStr, time::Duration};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::diagnostic::quote;

/// What is wrong with a value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without help.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Ports from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// All ports.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// Whether a port is in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A host name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// The name, in lower case, without `*.`.
    pub name: String,
    /// Whether the names below are meant, and not the name itself.
    pub below: bool,
}

/// A duration: a number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    const HELP: &str = "a number and `s`, `m`, `h` or `d`, as in `90s`, `15m`, `8h`, `2d`";
    let wrong = || Problem::new(format!("{} is not a duration", quote(text))).help(HELP);
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(wrong()),
    };
    let digits = text.get(..text.len() - 1).unwrap_or("");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // A hundred years: far from an overflow of nanoseconds in 64 bits.
    let longest = 36_500 * 86_400;
    let seconds = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    match seconds {
        Some(0) => Err(Problem::new(format!("{} is no time at all", quote(text))).help(HELP)),
        Some(seconds) if seconds <= longest => Ok(Duration::from_secs(seconds)),
        _ => Err(Problem::new(format!("{} is longer than 100 years", quote(text)))),
    }
}

/// An amount of memory in bytes: a number and `K`, `M`, `G` or `T`, each 1,024 times the one before.
///
/// # Errors
/// What is wrong with it.
pub fn size(text: &str) -> Result<u64, Problem> {
    const HELP: &str = "a number and `K`, `M`, `G` or `T`, as in `512M`, `4G`";
    let wrong = || Problem::new(format!("{} is no amount of memory", quote(text))).help(HELP);
    let shift = match text.as_bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => return Err(wrong()),
    };
    let digits = text.get(..text.len() - 1).unwrap_or("");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let bytes = digits.parse().ok().and_then(|number: u64| number.checked_mul(1 << shift));
    match bytes {
        // With less no program can run, and more is no limit.
        Some(bytes) if (1 << 20..1 << 60).contains(&bytes) => Ok(bytes),
        _ => Err(Problem::new(format!("{} is less than `1M` or far too much", quote(text)))),
    }
}

/// A port number.
///
/// # Errors
/// It is not between 1 and 65535.
pub fn port(text: &str) -> Result<u16, Problem> {
    const HELP: &str = "ports are 1 to 65535; without `ports`, all are meant";
    let wrong = |what: &str| Problem::new(format!("{} {what}", quote(text))).help(HELP);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("is not a port"));
    }
    match text.parse::<u16>() {
        Ok(0) => Err(wrong("is not a port that can be used")),
        Ok(port) => Ok(port),
        Err(_) => Err(wrong("is out of range")),
    }
}

/// A port, or a range of ports with a hyphen.
///
/// # Errors
/// What is wrong with it.
pub fn ports(text: &str) -> Result<PortRange, Problem> {
    let Some((first, last)) = text.split_once('-').filter(|(first, _)| !first.is_empty()) else {
        return port(text).map(|port| PortRange { first: port, last: port });
    };
    let (first, last) = (port(first.trim())?, port(last.trim())?);
    if first > last {
        return Err(Problem::new(format!("{} ends before it begins", quote(text)))
            .help(format!("`{last}-{first}`")));
    }
    Ok(PortRange { first, last })
}

/// An address range. IPv4-mapped IPv6 ranges become IPv4 ones.
///
/// # Errors
/// What is wrong with it.
pub fn cidr(text: &str) -> Result<IpNet, Problem> {
    if let Ok(address) = IpAddr::from_str(text) {
        let len = if address.is_ipv4() { 32 } else { 128 };
        return Err(Problem::new(format!("{} has no prefix length", quote(text)))
            .help(format!("`{text}/{len}` is this address alone")));
    }
    let Ok(net) = IpNet::from_str(text) else {
        return Err(cidr_problem(text));
    };
    if net.addr() != net.network() {
        return Err(Problem::new(format!("{} has bits set after its prefix", quote(text))).help(
            format!("`{}` is the range, `{}` the address alone", net.trunc(), {
                IpNet::from(net.addr())
            }),
        ));
    }
    Ok(match net {
        IpNet::V6(net) => unmapped(net).map_or(IpNet::V6(net), IpNet::V4),
        net => net,
    })
}

fn cidr_problem(text: &str) -> Problem {
    let wrong = |what: &str| Problem::new(format!("{} {what}", quote(text)));
    let Some((address, len)) = text.split_once('/') else {
        return wrong("is not an address range")
            .help("an address and a prefix length, as in `10.20.0.0/16`, `fd00:20::/64`");
    };
    match IpAddr::from_str(address) {
        Ok(address) => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            wrong("has no right prefix length").help(format!("`{len}` must be 0 to {most}"))
        }
        Err(_) => wrong("is not an address range")
            .help("an address and a prefix length, as in `10.20.0.0/16`, `fd00:20::/64`"),
    }
}

/// The IPv4 range of a range of mapped addresses.
fn unmapped(net: Ipv6Net) -> Option<Ipv4Net> {
    let address = net.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok()
}

/// A host name, exact or `*.example.com`.
///
/// # Errors
/// What is wrong with it.
pub fn host(text: &str) -> Result<Host, Problem> {
    const HELP: &str = "a name as in `api.github.com`, or `*.example.com` for all below one";
    let wrong = |what: &str| Problem::new(format!("{} {what}", quote(text)));
    if IpAddr::from_str(text).is_ok() || IpNet::from_str(text).is_ok() {
        return Err(wrong("is an address, not a host name").help("addresses go into `cidrs`"));
    }
    if text.contains("://") || text.contains(['/', ':']) {
        return Err(wrong("is not a host name alone").help(HELP));
    }
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    if name.contains('*') {
        return Err(wrong("has a `*` that is not its first label").help(HELP));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(wrong("is not a host name").help(HELP));
    }
    Ok(Host { name: name.to_ascii_lowercase(), below })
}

/// The name of a tool, profile or sensitivity.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<(), Problem> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if begins && text.chars().all(goes_on) && text.len() <= 64 {
        return Ok(());
    }
    Err(Problem::new(format!("{} can't be a name", quote(text))).help(
        "names are a lower-case letter, then lower-case letters, digits, `_` and `-`, 64 at most",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_a_number_and_a_unit() {
        assert_eq!((size("4G"), size("512M")), (Ok(4 << 30), Ok(512 << 20)));
        for wrong in ["", "4", "G", "4g", "4 G", "-1G", "1K", "9999999999T", "4GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
