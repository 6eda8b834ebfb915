//! Real programs as the agent, under the policy for a new host: they do their work, and nothing is
//! refused that they need.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tests::{Builder, Outcome, bed, outcome, skip, slow};

/// An empty work folder for a session of `coder`, under the default policy.
fn coder(name: &str) -> (PathBuf, Builder) {
    let folder = bed().folder(name);
    bed().default_policy("");
    let session = bed().session("coder").workdir(&folder).folder(&folder);
    let session = session.environment("HOME", &folder).task("work on a folder");
    (folder, session)
}

/// Whether the machine has a program.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// A program of the operator that ends with the test.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self(child);
        outcome::eventually("the server to listen", Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn files_without_a_name_can_be_changed_by_who_holds_them() {
    let (folder, session) = coder("unnamed");
    let finished = session.run([
        "python3",
        "-c",
        "
import os, tempfile
def change(fd):
    os.ftruncate(fd, 4096); os.write(fd, b'x' * 5000); os.fchmod(fd, 0o640); os.fchown(fd, -1, -1)
    os.utime(fd); os.utime(fd, (1, 2))
    assert os.fstat(fd).st_size == 5000
memory = os.memfd_create('memory'); change(memory)
with tempfile.TemporaryFile() as file: change(file.fileno())
gone = os.open('gone', os.O_RDWR | os.O_CREAT); os.unlink('gone'); change(gone)
named = os.open('named', os.O_RDWR | os.O_CREAT); change(named)
",
    ]);
    let finished = finished.expect(0);
    assert_eq!(finished.incidents().len(), 0, "{:?}", finished.incidents());
    assert_eq!(fs::metadata(folder.join("named")).unwrap().len(), 5000);
}

#[test]
fn shell_works_in_its_folder() {
    let (folder, session) = coder("shell");
    let finished = session.script(
        "set -e
         echo one > a; cat a; mkdir -p d/e; cp a d/e/b; mv d/e/b d/c; ln -s d/c link; cat link
         printf 'b\\na\\n' | sort | head -1; ls -la > /dev/null; find . -name c | wc -l
         for i in 1 2 3; do (echo $i) & done | sort; wait
         tmp=$(mktemp); echo x > $tmp; rm $tmp; grep -r one . | wc -l; rm -r d; test ! -e d
         date > /dev/null; id -u; uname -s; sed -i s/one/two/ a; cat a; kill -0 $$
         tar cf t.tar a; tar tf t.tar; gzip t.tar; gunzip t.tar.gz; awk 'BEGIN { print 6 * 7 }'
         cat << END
here
END",
    );
    let finished = finished.expect(0).unhindered();
    let expected = "one\none\na\n1\n1\n2\n3\n2\n0\nLinux\ntwo\na\n42\nhere\n";
    assert_eq!(finished.outcome.stdout, expected);
    assert!(folder.join("link").is_symlink());
}

#[test]
fn shell_is_refused_what_lies_beside_its_folder() {
    let (folder, session) = coder("shell");
    let beside = bed().folder("beside");
    fs::write(beside.join("file"), "secret").unwrap();
    fs::write(folder.join("file"), "mine").unwrap();
    let finished = session.script("cat file; cat ../beside/file; echo x > ../beside/new; true");
    let finished = finished.expect(0);
    assert_eq!(finished.outcome.stdout, "mine");
    assert_eq!(finished.outcome.stderr.matches("Permission denied").count(), 2);
    let incidents = finished.incidents();
    let found: Vec<_> = incidents
        .iter()
        .map(|incident| {
            (incident.operation.as_str(), incident.path(), incident.process.comm.as_str())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("file.open", "/srv/test/beside/file", "cat"),
            ("file.create", "/srv/test/beside/new", "sh"),
        ]
    );
}

#[test]
fn python_works() {
    let (_, session) = coder("python");
    let finished = session.run([
        "python3",
        "-c",
        "
import concurrent.futures, decimal, hashlib, json, multiprocessing, os, random, re, shutil, socket
import sqlite3, ssl, subprocess, tempfile, threading, time, urllib.request, uuid, zlib, asyncio, ctypes
import http.server, xml.etree.ElementTree, email, csv, logging, datetime, zoneinfo, platform, getpass
print(subprocess.run(['sh', '-c', 'echo sub'], capture_output=True, text=True).stdout.strip())
with tempfile.TemporaryDirectory() as d:
    open(os.path.join(d, 'f'), 'w').write('x')
with tempfile.TemporaryFile() as f:
    f.write(b'x')
with tempfile.NamedTemporaryFile() as f:
    f.write(b'x')
db = sqlite3.connect('data.db')
db.execute('pragma journal_mode=wal')
db.execute('create table t (a)')
db.executemany('insert into t values (?)', [(i,) for i in range(100)])
db.commit()
print(db.execute('select sum(a) from t').fetchone()[0])
found = []
threads = [threading.Thread(target=lambda: found.append(open('data.db', 'rb').read(6))) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(len(found))
with multiprocessing.Pool(2) as pool:
    print(sum(pool.map(abs, range(10))))
async def work():
    p = await asyncio.create_subprocess_exec('true')
    return await p.wait()
print(asyncio.run(work()))
shutil.copy('data.db', 'copy.db')
os.replace('copy.db', 'other.db')
print(ssl.create_default_context().cert_store_stats()['x509_ca'] >= 0, hashlib.sha256(b'').hexdigest()[:4])
a, b = socket.socketpair()
a.send(b'x'); print(b.recv(1))
platform.platform(); os.cpu_count(); getpass.getuser(); os.getloadavg()
",
    ]);
    let finished = finished.expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "sub\n4950\n8\n45\n0\nTrue e3b0\nb'x'\n");
}

#[test]
fn git_works_in_its_folder() {
    let (folder, session) = coder("git");
    let finished = session.script(
        "set -e
         git init -q -b main one; cd one
         git config user.name Agent; git config user.email agent@example.com
         echo text > file; git add file; git commit -qm first
         git checkout -qb topic; echo more >> file; git commit -qam second
         git checkout -q main; git merge -q topic; git log --oneline | wc -l
         git stash list; git diff HEAD~1 --stat | wc -l; git gc -q; git fsck
         cd ..; git clone -q one two; cat two/file; cd two; git pull -q; git status --short",
    );
    let finished = finished.expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "2\n2\ntext\nmore\n");
    assert!(folder.join("two/.git").is_dir());
}

#[test]
fn git_clones_from_a_server_once_it_holds_the_tool() {
    let (folder, session) = coder("git");
    let served = bed().folder("served");
    let script = format!(
        "set -e; cd {}; git init -q -b main repo; cd repo; echo served > file; git add file
         git -c user.name=o -c user.email=o@example.com commit -qm first",
        served.display()
    );
    Outcome::of(Command::new("sh").args(["-c", &script]).env("HOME", &served), &[]).expect(0);
    let mut daemon = Command::new("git");
    daemon.args(["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"]);
    daemon.arg(format!("--base-path={}", served.display())).arg(&served).env("HOME", &served);
    let _server = Server::start(&mut daemon, 9418);
    let clone = "while [ ! -e go ]; do sleep 0.1; done
         git clone -q git://127.0.0.1/repo first; echo $?
         while [ ! -e again ]; do sleep 0.1; done
         git clone -q git://127.0.0.1/repo second; echo $?";
    let running = session.spawn(["sh", "-c", clone]);
    fs::write(folder.join("go"), "").unwrap();
    let incident = bed().incident(&running.name, |incident| incident.operation == "net.connect");
    assert_eq!((incident.text("address"), incident.reason.as_str()), ("127.0.0.1", "no_tool"));
    assert_eq!(incident.object["port"], 9418);
    assert_eq!(incident.would_allow, ["loopback"]);
    assert!(incident.process.ancestry.iter().any(|process| process.pid == running.pid));
    running.grant("loopback");
    let before = running.incidents().len();
    fs::write(folder.join("again"), "").unwrap();
    let finished = running.wait().expect(0);
    assert_eq!(finished.outcome.stdout, "128\n0\n", "{}", finished.outcome);
    assert_eq!(fs::read_to_string(folder.join("second/file")).unwrap(), "served\n");
    let incidents = finished.incidents();
    assert_eq!(incidents.len(), before, "{}", tests::incident::list(&incidents));
}

#[test]
fn curl_reaches_a_server_just_while_it_holds_the_tool() {
    if !is_there("curl") {
        skip!("the machine has no curl");
    }
    let (folder, session) = coder("curl");
    let served = bed().folder("served");
    fs::write(served.join("page"), "page").unwrap();
    let mut server = Command::new("python3");
    server.args(["-m", "http.server", "--bind", "127.0.0.1", "8765", "--directory"]).arg(&served);
    let _server = Server::start(&mut server, 8765);
    let script = "for i in 1 2 3; do
           while [ ! -e go-$i ]; do sleep 0.05; done
           curl -s http://127.0.0.1:8765/page > page-$i; echo $? > ended-$i
         done";
    let running = session.spawn(["sh", "-c", script]);
    let round = |number: u32| {
        fs::write(folder.join(format!("go-{number}")), "").unwrap();
        let ended = folder.join(format!("ended-{number}"));
        outcome::eventually("curl", Duration::from_secs(30), || {
            fs::read_to_string(&ended).ok().filter(|text| !text.is_empty())
        })
    };
    let refusals = || {
        let mut incidents = running.incidents();
        incidents.retain(|incident| incident.operation == "net.connect");
        incidents
    };
    assert_eq!(round(1), "7\n");
    assert_eq!(refusals().len(), 1);
    running.grant("loopback");
    assert_eq!(round(2), "0\n");
    assert_eq!(fs::read_to_string(folder.join("page-2")).unwrap(), "page");
    assert_eq!(refusals().len(), 1);
    running.revoke("loopback");
    assert_eq!(round(3), "7\n");
    let finished = running.wait().expect(0);
    let incidents = finished.incidents();
    assert_eq!(incidents.len(), 2, "{}", tests::incident::list(&incidents));
    for incident in incidents {
        assert_eq!(incident.operation, "net.connect");
        assert_eq!(incident.process.comm, "curl");
        assert_eq!(
            (incident.text("address"), &incident.object["port"]),
            ("127.0.0.1", &8765.into())
        );
        assert_eq!(incident.would_allow, ["loopback"]);
        // Without the tool, and after it was taken back.
        assert!(["no_tool", "revoked"].contains(&incident.reason.as_str()), "{}", incident.reason);
    }
}

#[test]
fn node_works() {
    if !is_there("node") {
        skip!("the machine has no node");
    }
    let (folder, session) = coder("node");
    fs::write(
        folder.join("main.js"),
        "const { Worker, isMainThread, parentPort } = require('worker_threads')
         const fs = require('fs'), { execSync } = require('child_process'), crypto = require('crypto')
         if (!isMainThread) { parentPort.postMessage(fs.readFileSync(__filename).length) }
         else {
           fs.writeFileSync('out', 'text'); fs.appendFileSync('out', 'more'); fs.renameSync('out', 'kept')
           console.log(execSync('echo child').toString().trim(), crypto.randomBytes(4).length)
           let hot = 0; for (let i = 0; i < 3e5; i++) hot = (hot + i * i) % 1000
           let left = 4
           for (let i = 0; i < 4; i++) new Worker(__filename).on('message', () => {
             if (--left == 0) fs.promises.readFile('kept', 'utf8').then(text => console.log(text))
           })
         }",
    )
    .unwrap();
    let finished = session.run(["node", "main.js"]).expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "child 4\ntextmore\n");
}

#[test]
fn npm_installs_from_a_folder() {
    slow!();
    if !is_there("npm") {
        skip!("the machine has no npm");
    }
    let (folder, session) = coder("npm");
    fs::create_dir_all(folder.join("library")).unwrap();
    fs::create_dir_all(folder.join("program")).unwrap();
    fs::write(folder.join("library/package.json"), r#"{"name":"library","version":"1.0.0"}"#)
        .unwrap();
    fs::write(folder.join("library/index.js"), "module.exports = 42").unwrap();
    fs::write(folder.join("program/package.json"), r#"{"name":"program","version":"1.0.0"}"#)
        .unwrap();
    let finished = session.environment("npm_config_update_notifier", "false").script(
        "set -e; cd program
         npm install --silent --offline --no-audit --no-fund --install-links ../library
         test ! -L node_modules/library; node -e 'console.log(require(\"library\"))'",
    );
    let finished = finished.expect(0).unhindered();
    assert!(finished.outcome.stdout.ends_with("42\n"), "{}", finished.outcome);
}

#[test]
fn cargo_builds_and_runs_a_program() {
    slow!();
    let Some(cargo) = option_env!("CARGO") else { skip!("built without cargo") };
    if !Path::new(cargo).exists() {
        skip!("`{cargo}` is not seen in the guest");
    }
    let (folder, session) = coder("cargo");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/main.rs"), "fn main() { println!(\"built\") }\n").unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    )
    .unwrap();
    // The session's home is its folder; the toolchain stays where it is installed.
    let bin = Path::new(cargo).parent().unwrap().display().to_string();
    let finished = session.environment("CARGO_HOME", folder.join(".cargo")).run([
        "env",
        &format!("PATH={bin}:/usr/bin:/bin"),
        cargo,
        "run",
        "--offline",
        "--quiet",
    ]);
    let finished = finished.expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "built\n");
}

#[test]
fn compiler_and_a_program_of_many_threads_work() {
    if !is_there("gcc") {
        skip!("the machine has no gcc");
    }
    let (folder, session) = coder("threads");
    fs::write(
        folder.join("main.c"),
        r#"#include <pthread.h>
           #include <stdio.h>
           #include <stdlib.h>
           static void *work(void *number) {
               char name[64];
               for (int round = 0; round < 20; round++) {
                   snprintf(name, sizeof name, "out-%ld-%d", (long)number, round);
                   FILE *file = fopen(name, "w");
                   if (!file || fputs("text", file) < 0 || fclose(file)) return "wrong";
                   if (remove(name)) return "wrong";
                   if (fopen("/etc/shadow", "r")) return "open";
               }
               return 0;
           }
           int main(void) {
               pthread_t threads[16];
               for (long i = 0; i < 16; i++)
                   if (pthread_create(&threads[i], 0, work, (void *)i)) return 2;
               int wrong = 0;
               for (int i = 0; i < 16; i++) {
                   void *result;
                   pthread_join(threads[i], &result);
                   wrong += result != 0;
               }
               return wrong;
           }"#,
    )
    .unwrap();
    let finished = session.script("gcc -O1 -pthread main.c -o main && ./main").expect(0);
    let incidents = finished.incidents();
    let list = tests::incident::list(&incidents);
    let counted: u64 = incidents.iter().map(|incident| incident.count).sum();
    assert_eq!(counted, 16 * 20, "{list}");
    for incident in &incidents {
        assert_eq!(
            (incident.path(), incident.reason.as_str()),
            ("/etc/shadow", "explicit_deny"),
            "{list}"
        );
        assert_eq!(incident.process.exe, folder.join("main").display().to_string());
    }
}

#[test]
fn program_of_a_package_manager_s_kind_is_not_run_from_a_temporary_folder() {
    let (folder, session) = coder("scratch");
    let script = "cp /usr/bin/true /tmp/copy && chmod 755 /tmp/copy && cp /tmp/copy . && ./copy && /tmp/copy";
    let finished = session.script(script).expect(126);
    assert!(folder.join("copy").metadata().unwrap().permissions().mode() & 0o111 != 0);
    let incident = finished.incident();
    assert_eq!((incident.operation.as_str(), incident.path()), ("file.exec", "/tmp/copy"));
}

#[test]
fn own_processes_are_listed_and_a_look_at_all_others_is_one_line() {
    let (_, session) = coder("processes");
    let missing: Vec<_> =
        ["ps", "top", "lsof", "lscpu"].into_iter().filter(|it| !is_there(it)).collect();
    if !missing.is_empty() {
        skip!("the machine has no {missing:?}");
    }
    let script = "
        sleep 1000 & sleep=$!
        ps -e -o comm= > listed; sort -u listed
        pgrep -x sleep | grep -cx $sleep
        top -b -n 1 | grep -cw sleep
        lsof -p $sleep 2> /dev/null | grep -cw cwd
        lscpu | grep -c ^Architecture
        pkill -x sleep; wait $sleep; echo $?";
    let finished = session.environment("TERM", "dumb").script(script).expect(0);
    let incidents = finished.incidents();
    let list = tests::incident::list(&incidents);
    assert_eq!(finished.outcome.stdout, "ps\nsh\nsleep\n1\n1\n1\n1\n143\n", "{list}");
    for program in ["ps", "pgrep", "top", "pkill"] {
        let mut own = incidents.iter().filter(|incident| incident.process.comm == program);
        let (Some(scan), None) = (own.next(), own.next()) else {
            panic!("`{program}` has not one line:\n{list}");
        };
        assert_eq!((scan.operation.as_str(), scan.path()), ("file.open", "/proc/*/stat"), "{list}");
        assert!(scan.count > 10, "{list}");
    }
    let looks = incidents.iter().filter(|it| it.process.comm == "lsof" && it.count > 10);
    assert_eq!(looks.count(), 1, "{list}");
}

#[test]
fn what_is_open_is_opened_again_by_its_name() {
    let given = bed().folder("given");
    let (_, session) = coder("names");
    let err = given.join("err").display().to_string();
    let session = session.through(["sh", "-c", "exec \"$@\" 2> $0", &err]);
    let script = "
        echo given > /dev/stderr
        cat /dev/stdin <<< text
        long=$(head -c 200000 /dev/zero | tr '\\0' x)
        cat /dev/stdin <<< \"$long\" | wc -c
        cat /dev/fd/3 3<<< more
        tee /dev/stderr <<< again > /dev/null
        cat <(echo pipe)
        python3 -c '
import subprocess, tempfile
with tempfile.TemporaryFile() as out:
    subprocess.run(\"echo child > /dev/stdout\", shell=True, stdout=out)
    out.seek(0); print(out.read())'";
    let finished = session.run(["bash", "-c", script]).expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "text\n200001\nmore\npipe\nb'child\\n'\n");
    assert_eq!(fs::read_to_string(err).unwrap(), "again\n");
}
