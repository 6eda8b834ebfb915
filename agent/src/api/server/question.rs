//! Parses the question of `policy explain`: an operation and an object, as people write them.

use std::net::{IpAddr, SocketAddr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN},
};

use super::ApiError;
use crate::{
    policy::{
        diagnostic::nearest,
        links::{self, Led},
    },
    session::registry,
};

/// A parsed question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The rights that the operation needs.
    pub(super) rights: Rights,
    /// Where the path leads, if there is a symbolic link on its way.
    pub(super) led: Option<Led>,
    target: Target,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Path(String),
    Endpoint { address: IpAddr, port: u16, flow: u16 },
}

impl Question {
    /// The object, as the registry takes it.
    pub(super) fn object(&self) -> registry::Object<'_> {
        match &self.target {
            Target::Path(path) => {
                let path = self.led.as_ref().map_or(path.as_str(), |led| &led.to);
                registry::Object::Path { path, own_process: false }
            }
            Target::Endpoint { address, port, flow } => {
                registry::Object::Endpoint { address: *address, port: *port, flow: *flow }
            }
        }
    }
}

/// Parses a question.
pub(super) fn parse(operation: &str, object: &str) -> Result<Question, ApiError> {
    let right = right(operation)?;
    let network = matches!(right, Right::Listen)
        || operation.starts_with("net.")
        || (right == Right::Connect && !object.starts_with('/'));
    if !network {
        if !object.starts_with('/') {
            return Err(ApiError::bad(format!("`{object}` is not an absolute path")));
        }
        let led = links::of_path(object, matches!(right, Right::Create | Right::Delete));
        let target = Target::Path(object.to_owned());
        return Ok(Question { rights: Rights::of(right), led, target });
    }
    let (udp, rest) = match object.split_once("://").or_else(|| object.split_once('/')) {
        Some(("udp", rest)) => (true, rest),
        Some(("tcp", rest)) => (false, rest),
        _ => (false, object),
    };
    let Ok(endpoint) = rest.parse::<SocketAddr>() else {
        return Err(ApiError::bad(format!("`{object}` is not an endpoint")).help(
            "`ADDRESS:PORT`, `[ADDRESS]:PORT` or `udp/ADDRESS:PORT`; host names are not looked up",
        ));
    };
    let flow = match (right, udp) {
        (Right::Listen, false) => FLOW_TCP_LISTEN,
        (Right::Listen, true) => FLOW_UDP_LISTEN,
        (_, false) => FLOW_TCP_CONNECT,
        (_, true) => FLOW_UDP_CONNECT,
    };
    let target = Target::Endpoint { address: endpoint.ip(), port: endpoint.port(), flow };
    Ok(Question { rights: Rights::of(right), led: None, target })
}

/// The right that an operation, or a right by its name, stands for.
fn right(word: &str) -> Result<Right, ApiError> {
    if let Some(right) = Right::ALL.into_iter().find(|right| right.name() == word) {
        return Ok(right);
    }
    let operation = Operation::ALL.iter().find(|operation| operation.name() == word);
    let right = operation.and_then(|operation| match operation {
        Operation::FileOpen | Operation::FileUse | Operation::FileReceive => Some(Right::Read),
        Operation::FileExec | Operation::FileMap => Some(Right::Exec),
        Operation::FileCreate | Operation::FileLink => Some(Right::Create),
        Operation::FileDelete | Operation::FileRename => Some(Right::Delete),
        Operation::FileSetattr => Some(Right::Write),
        Operation::FileIoctl => Some(Right::Ioctl),
        Operation::NetConnect | Operation::NetSend | Operation::NetUse | Operation::UnixConnect => {
            Some(Right::Connect)
        }
        Operation::NetBind | Operation::NetListen => Some(Right::Listen),
        _ => None,
    });
    right.ok_or_else(|| {
        let rights = Right::ALL.into_iter().map(Right::name);
        let operations = Operation::ALL.iter().map(|operation| operation.name());
        let error = ApiError::bad(format!("no tool can cover `{word}`"));
        match nearest(word, rights.chain(operations)) {
            Some(meant) if meant != word => error.help(format!("did you mean `{meant}`?")),
            _ => error.help("a right (`read`, `write`, …) or an operation (`net.connect`, …)"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_in_each_form_is_parsed() {
        let path = |right| (Rights::of(right), Target::Path("/x".into()));
        for (operation, right) in
            [("read", Right::Read), ("file.exec", Right::Exec), ("unix.connect", Right::Connect)]
        {
            let (rights, target) = path(right);
            assert_eq!(
                parse(operation, "/x").unwrap(),
                Question { rights, led: None, target },
                "{operation}"
            );
        }
        let Question { target, .. } = parse("net.connect", "udp/[fd00::1]:53").unwrap();
        let address = "fd00::1".parse().unwrap();
        assert_eq!(target, Target::Endpoint { address, port: 53, flow: FLOW_UDP_CONNECT });
        let Question { target, .. } = parse("connect", "10.0.0.1:80").unwrap();
        assert!(matches!(target, Target::Endpoint { flow: FLOW_TCP_CONNECT, port: 80, .. }));
        assert!(parse("read", "x").is_err());
        assert!(parse("net.connect", "example.com:80").is_err());
        let wrong = parse("raed", "/x").unwrap_err();
        assert_eq!(wrong.body.help.as_deref(), Some("did you mean `read`?"));
    }
}
