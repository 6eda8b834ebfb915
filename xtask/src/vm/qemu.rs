//! A running QEMU: started, listened to, and ended in time.
//! Owns the process and the sockets. It must not know what the guest does.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{Guest, initramfs, kernel::Kernel, programs};
use crate::{process::is_root, project::make_folder};

/// The virtio-serial ports, in the order of their numbers from 1 on, as `guest.sh` knows them.
const PORTS: [&str; 3] = ["stdout", "stderr", "status"];

/// How many lines of the console an error shows.
const TAIL_LINES: usize = 60;

/// Boots of this process so far.
static BOOTS: AtomicU32 = AtomicU32::new(0);

/// The files of one boot, removed when it is over.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn make(cache: &Path) -> Result<Self> {
        let guests = cache.join("guests");
        let number = BOOTS.fetch_add(1, Ordering::Relaxed);
        let folder = guests.join(format!("{}.{number}", std::process::id()));
        make_folder(&folder)?;
        remove_orphans(&guests);
        Ok(Self { folder })
    }

    fn initramfs(&self) -> PathBuf {
        self.folder.join("initramfs")
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What can't be removed lies in the cache, where it harms nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the files of boots whose process was killed before it could.
fn remove_orphans(guests: &Path) {
    for entry in fs::read_dir(guests).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // The name is the process's id, a dot, and the number of its boot.
        let process = name.to_str().and_then(|name| name.split('.').next()).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            // What can't be removed lies in the cache, where it harms nothing.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Boots `guest`, passes its output on, and returns its command's exit status.
///
/// # Errors
/// When QEMU can't be started, or the guest ends without a status or not in time; the error shows
/// the console's tail.
pub(super) fn boot(guest: Guest, kernel: &Kernel, cache: &Path) -> Result<u8> {
    let files = Files::make(cache)?;
    let archive = initramfs::make(&guest, kernel)?;
    fs::write(files.initramfs(), archive).context("cannot write the initramfs")?;
    let mut command = command(&guest, kernel, &files)?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for (number, name) in PORTS.iter().enumerate() {
        let (our, their) = UnixStream::pair().context("cannot make a socket")?;
        let number = number + 1;
        let socket = their.as_raw_fd();
        command.args(["-chardev", &format!("socket,id={name},fd={socket}")]);
        command.args(["-device", &format!("virtserialport,chardev={name},nr={number}")]);
        ours.push(our);
        theirs.push(their);
    }
    let inherited: Vec<RawFd> = theirs.iter().map(|socket| socket.as_raw_fd()).collect();
    prepare_child(&mut command, inherited);
    let child = command.spawn().context("cannot run `qemu-system-x86_64`")?;
    let machine = Machine(child);
    drop(theirs);
    machine.follow(ours, guest, &files.console())
}

/// Lets the sockets live on in the child, which ends with this process.
fn prepare_child(command: &mut Command, inherited: Vec<RawFd>) {
    let prepare = move || {
        for socket in &inherited {
            // SAFETY: F_SETFD takes an integer; the descriptor is open until the child was made.
            if unsafe { libc::fcntl(*socket, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: PR_SET_PDEATHSIG takes an integer and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only fcntl and prctl are called, which are safe there.
    unsafe { command.pre_exec(prepare) };
}

/// The process; killed when it is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    fn follow(mut self, ports: Vec<UnixStream>, guest: Guest, console: &Path) -> Result<u8> {
        let [stdout, stderr, status] = <[UnixStream; PORTS.len()]>::try_from(ports)
            .map_err(|_| anyhow::anyhow!("a port has no socket"))?;
        let copies = [pass_on(stdout, guest.stdout), pass_on(stderr, Box::new(io::stderr()))];
        let status = wait_for_line(status);
        let limit = Instant::now() + guest.timeout;
        let outcome = loop {
            if let Ok(line) = status.recv_timeout(Duration::from_millis(50)) {
                break parse_status(&line);
            }
            if self.0.try_wait().context("cannot wait for QEMU")?.is_some() {
                break Err("the guest ended without a status".to_owned());
            }
            if Instant::now() > limit {
                break Err(format!("the guest was stopped after {} s", guest.timeout.as_secs()));
            }
        };
        drop(self);
        for copy in copies {
            // A thread that panicked has said so on stderr.
            let _ = copy.join();
        }
        match outcome {
            Ok(status) => Ok(status),
            Err(reason) => bail!("{reason}\n{}", tail(console)),
        }
    }
}

/// Passes on what the guest writes, as it comes.
fn pass_on(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        // A reset is how the socket of a killed QEMU may end.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let text = buffer.get(..length).unwrap_or_default();
            if to.write_all(text).and_then(|()| to.flush()).is_err() {
                // The reader is gone; the guest must not wait for it.
                to = Box::new(io::sink());
            }
        }
    })
}

/// Sends what comes from a port before the end of its first line.
fn wait_for_line(mut from: UnixStream) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        let mut byte = [0];
        while from.read_exact(&mut byte).is_ok() && byte != *b"\n" {
            line.push(char::from(byte[0]));
        }
        if !line.is_empty() {
            // Fails only when nobody waits any more.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn parse_status(line: &str) -> Result<u8, String> {
    line.trim().parse().map_err(|_| format!("the guest gave `{line}` for a status"))
}

/// The last lines of the console, indented.
fn tail(console: &Path) -> String {
    let mut bytes = Vec::new();
    // Without a console the reason stands alone.
    let _ = File::open(console).and_then(|mut file| file.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    let mut tail = String::from("the console's last lines:");
    for line in lines.iter().skip(skipped) {
        // Writing to a string can't fail.
        let _ = write!(tail, "\n    {line}");
    }
    tail
}

/// QEMU's command line, but for the ports.
fn command(guest: &Guest, kernel: &Kernel, files: &Files) -> Result<Command> {
    let mut command = programs::emulator()?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let cpus = if guest.icount { 1 } else { guest.cpus };
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    // Emulated, five-level page tables and AVX are slower than what they stand for.
    let mut processor = "max,la57=off,avx=off,avx2=off".to_owned();
    if guest.icount {
        command.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
    } else {
        processor.push_str(WITHOUT_BYTE_COPIES);
        command.args(["-accel", "tcg,thread=multi"]);
    }
    command.args(["-machine", "pc", "-cpu", &processor]);
    command.args(["-smp", &cpus.to_string(), "-m", &guest.memory]);
    command.arg("-kernel").arg(kernel.image());
    command.arg("-initrd").arg(files.initramfs());
    let own = guest.parameters.iter().map(String::as_str);
    let parameters: Vec<&str> = std::iter::once(PARAMETERS).chain(own).collect();
    command.args(["-append", &parameters.join(" ")]);
    command.args(["-chardev", &format!("file,id=console,path={}", option(&files.console())?)]);
    command.args(["-serial", "chardev:console", "-device", "virtio-rng-pci"]);
    share(&mut command, "root", Path::new("/"), "none,readonly=on");
    for (place, folder) in guest.shared.iter().enumerate() {
        let folder = initramfs::real(folder)?;
        option(&folder)?;
        let model = if is_root() { "passthrough" } else { "none" };
        share(&mut command, &initramfs::tag(place), &folder, model);
    }
    command.args(["-device", "virtio-serial-pci"]);
    Ok(command)
}

/// Takes from the processor what makes the kernel copy and clear memory by `rep movsb` and `rep stosb`: emulated, each
/// byte is a step of its own. A start of the daemon takes a quarter less time without. Where instructions are
/// counted it stays, so that counts can be compared with earlier ones.
const WITHOUT_BYTE_COPIES: &str = ",erms=off,fsrm=off,fsrs=off,fzrm=off";

/// The kernel's parameters: everything on one console, a panic ends the machine, no time spent
/// on what a guest without visitors doesn't need. Debian's x32 calls are there, since attacks try them.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable \
    random.trust_cpu=on no_timer_check cryptomgr.notests init_on_alloc=0 audit=0 nowatchdog \
    8250.nr_uarts=1 rcupdate.rcu_expedited=1 syscall.x32=y";

fn share(command: &mut Command, tag: &str, folder: &Path, model: &str) {
    let folder = folder.display();
    let share = format!("local,id={tag},path={folder},security_model={model},multidevs=remap");
    command.args(["-fsdev", &share]);
    command.args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
}

/// A path as it may stand in an option of QEMU's, where a comma ends it.
fn option(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text) if !text.contains(',') => Ok(text),
        _ => bail!("QEMU can't take the path `{}`", path.display()),
    }
}
