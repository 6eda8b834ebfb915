//! System calls that the standard library does not have.

use std::{
    io,
    net::SocketAddr,
    os::fd::{FromRawFd as _, OwnedFd},
};

/// A system call with its arguments. Pointers among them have to be of values that outlive the call.
pub(super) fn call<const N: usize>(number: i64, arguments: [usize; N]) -> io::Result<usize> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers' pointers are of values that they borrow until the call is over; what the
    // kernel writes there has the size that they say.
    let done = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done.cast_unsigned() as usize) }
}

/// Like [`call`], for calls that return a descriptor.
pub(super) fn open<const N: usize>(number: i64, arguments: [usize; N]) -> io::Result<OwnedFd> {
    let fd = call(number, arguments)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path or name as C has it.
pub(super) fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The `struct sockaddr_in` or `sockaddr_in6` of an address.
pub(super) fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => {
            let family = (libc::AF_INET as u16).to_ne_bytes();
            [&family[..], &port, &v4.ip().octets(), &[0; 8]].concat()
        }
        SocketAddr::V6(v6) => {
            let family = (libc::AF_INET6 as u16).to_ne_bytes();
            [&family[..], &port, &[0; 4], &v6.ip().octets(), &[0; 4]].concat()
        }
    }
}

/// The same with another address family written over its own.
pub(super) fn with_family(mut address: Vec<u8>, family: i32) -> Vec<u8> {
    address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    address
}

/// A number of a line.
pub(super) fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("not a number: {word}"))
}
