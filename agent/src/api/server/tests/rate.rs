//! How fast tools are granted and revoked, against the same server answering a question.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::Scene;

/// The least rate of changes, in that of questions: with the state in memory, since how fast a disk is says
/// nothing of the server.
const PART: f64 = 0.5;

/// One connection that is kept, asked one thing after another.
struct Connection(BufReader<UnixStream>);

impl Connection {
    fn ask(&mut self, method: &str, path: &str, body: &str) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: remit\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        let mut first = String::new();
        self.0.read_line(&mut first).unwrap();
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// The least time that so many calls took, of some tries.
fn least(mut calls: impl FnMut()) -> Duration {
    let time = |calls: &mut dyn FnMut()| {
        let begin = Instant::now();
        calls();
        begin.elapsed()
    };
    (0..7).map(|_| time(&mut calls)).min().unwrap()
}

#[test]
#[ignore = "takes an optimized build: `cargo xtask bench --user`"]
fn yardstick_grants_come_at_half_the_rate_of_questions() {
    const CALLS: u32 = 400;
    let scene = Scene::new();
    scene.start();
    scene.untag();
    let mut connection =
        Connection(BufReader::new(UnixStream::connect(scene.client.socket()).unwrap()));
    let questions = least(|| {
        for _ in 0..CALLS {
            connection.ask("GET", "/v1/health", "");
        }
    });
    let grant = r#"{"tool": "github", "ttl": "10m", "reason": "push"}"#;
    let (before, mut number) = (scene.world.memory.acts().len(), 0);
    let changes = least(|| {
        for _ in 0..CALLS / 2 {
            connection.ask("POST", "/v1/sessions/coder-1/grants", grant);
            connection.ask("DELETE", "/v1/sessions/coder-1/grants/github", "");
            number += 2;
        }
    });
    assert_eq!(scene.world.memory.acts().len(), before + number, "each is told to the log");
    let rate = |time: Duration| f64::from(CALLS) / time.as_secs_f64();
    let part = rate(changes) / rate(questions);
    println!(
        "yardstick: grants and revocations {:.0}/s, questions {:.0}/s: {part:.2} of them, \
         at least {PART}",
        rate(changes),
        rate(questions)
    );
    assert!(part >= PART, "{part:.2}");
}
