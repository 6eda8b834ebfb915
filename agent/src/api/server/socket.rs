//! Makes the control socket.

use std::{
    fs::{self, Permissions},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{FileTypeExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tokio::net::UnixListener;

use crate::bpf::KernelError;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the control socket can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its path is taken by something that is no socket.
    #[error("`{}` is there and is not a socket", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// The system refused.
    #[error("can't {action} `{}`: {source}", path.display())]
    System {
        /// The operation.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel side can't record who connects.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Listens on the control socket. A socket that is left over is replaced: the lock on the state directory makes sure
/// that no other daemon listens on it. Everybody may connect; what each may do is decided for each request. `before` is
/// called with the socket before anybody can connect to it.
///
/// # Errors
/// The path is taken by something else, or the system or the kernel side refused.
pub fn bind(
    path: &Path,
    before: impl FnOnce(BorrowedFd<'_>) -> Result<(), KernelError>,
) -> Result<UnixListener, SocketError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::System { action, path, source }
    };
    if let Some(dir) = path.parent()
        && !dir.is_dir()
    {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed("open up", dir))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(failed("replace", path))?;
        }
        Ok(_) => return Err(SocketError::Occupied { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let refused = |error: Errno| failed("listen on", path)(error.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(refused)?;
    let address = SocketAddrUnix::new(path).map_err(refused)?;
    net::bind(&socket, &address).map_err(refused)?;
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed("open up", path))?;
    before(socket.as_fd())?;
    net::listen(&socket, BACKLOG).map_err(refused)?;
    UnixListener::from_std(socket.into()).map_err(failed("listen on", path))
}
