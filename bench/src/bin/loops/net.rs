//! Operations on sockets, on loopback.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use bench::{TCP_PORT, UDP_PORT};

use crate::{
    file::timed,
    measure::{Loop, Taken, time},
    sys::{done, owned},
};

/// `connect(2)` of a UDP socket, again and again.
pub(crate) const UDP_CONNECT: Loop = Loop {
    name: "UDP connect",
    rounds: 400,
    taken: Taken::Least(40),
    prepare: || {
        let socket = socket(libc::SOCK_DGRAM)?;
        Ok(timed(move || connect(&socket, UDP_PORT)))
    },
};

/// How many connections a batch makes; fewer than wait in a listener's queue.
const CONNECTIONS: u64 = 32;

/// `connect(2)` of a TCP socket and its end. The whole handshake is within it, since loopback answers at
/// once; making the socket and accepting the connection are not.
pub(crate) const TCP_CONNECT: Loop = Loop {
    name: "TCP connect+close",
    rounds: CONNECTIONS,
    taken: Taken::Least(20),
    prepare: || {
        let listener = socket(libc::SOCK_STREAM)?;
        set(&listener, libc::SO_REUSEADDR, &1)?;
        let address = address(TCP_PORT);
        // SAFETY: the address is one of the length that is told.
        done(unsafe { libc::bind(listener.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
        // SAFETY: the call takes two numbers.
        done(unsafe { libc::listen(listener.as_raw_fd(), 128) })?;
        Ok(Box::new(move |rounds| {
            let sockets = (0..rounds).map(|_| socket(libc::SOCK_STREAM));
            let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
            for socket in &sockets {
                // Closing resets the connection: nothing of it stays to disturb the next.
                set(socket, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })?;
            }
            let connects = time(|| sockets.iter().try_for_each(|one| connect(one, TCP_PORT)))?;
            let accepted = (0..rounds).map(|_| accept(&listener));
            let accepted = accepted.collect::<io::Result<Vec<_>>>()?;
            let closes = time(|| {
                drop(sockets);
                Ok(())
            })?;
            drop(accepted);
            Ok((connects + closes).into())
        }))
    },
};

/// The length of an address.
const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

/// A port on loopback.
fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: libc::INADDR_LOOPBACK.to_be() },
        sin_zero: [0; 8],
    }
}

fn socket(kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes three numbers.
    owned(unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_CLOEXEC, 0) })
}

fn connect(socket: &OwnedFd, port: u16) -> io::Result<()> {
    let address = address(port);
    // SAFETY: the address is one of the length that is told.
    done(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })
        .map(drop)
}

fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let nowhere = std::ptr::null_mut();
    // SAFETY: no address is asked for.
    owned(unsafe { libc::accept(listener.as_raw_fd(), nowhere, std::ptr::null_mut()) })
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value = (&raw const *value).cast();
    // SAFETY: the value has the length that is told.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    done(result).map(drop)
}
