//! Makes programs at random: calls with arguments that fit them mostly, some that don't, and events between.

use fastrand::Rng;

use crate::{
    choice::{choose_endpoints, choose_objects, keeps_to_itself, scenario},
    program::{
        ADDRESS_FORMS, Act, Address, AddressForm, FORMS, Fd, Form, Program, STEPS, Step, User,
        Value,
    },
    table::{Argument, Kind, Part, Table, Way},
    world::{Class, Content, ENDPOINTS, OBJECTS},
};

/// What a step gave.
struct Made {
    step: usize,
    which: usize,
    kind: String,
    /// For a socket, its family and its kind.
    socket: Option<(i64, i64)>,
}

impl Made {
    fn fd(&self) -> Fd {
        Fd::Step(self.step, self.which)
    }
}

/// A program that is being made.
pub(crate) struct Generator<'a> {
    table: &'a Table,
    rng: &'a mut Rng,
    program: Program,
    made: Vec<Made>,
    /// The endpoints that the program turns to: few, so that its steps meet.
    endpoints: Vec<usize>,
    /// The objects likewise.
    objects: Vec<usize>,
    lanes: usize,
    /// Whether the call gives a socket a name, or a file another.
    binds: bool,
    renames: bool,
    /// The last name and endpoint, which the next call of an idiom rather has too.
    last: Option<Value>,
    last_endpoint: Option<usize>,
    is_idiom: bool,
    /// What the next call is to use: by its place in `made`.
    wanted: Option<usize>,
    /// The object that the next call is to name.
    object: Option<usize>,
}

/// A program.
pub(crate) fn generate(table: &Table, rng: &mut Rng, user: User) -> Program {
    let lawful = rng.u8(..10) < 2;
    let lanes = if !lawful && rng.u8(..10) < 3 { 2 } else { 1 };
    let program = Program { user, lawful, steps: Vec::new() };
    let (endpoints, objects) = (choose_endpoints(rng, lawful), choose_objects(rng, lawful));
    let mut generator = Generator {
        table,
        rng,
        program,
        made: Vec::new(),
        endpoints,
        objects,
        lanes,
        binds: false,
        renames: false,
        last: None,
        last_endpoint: None,
        is_idiom: false,
        wanted: None,
        object: None,
    };
    generator.fill();
    generator.program
}

impl Generator<'_> {
    fn fill(&mut self) {
        let section = self.rng.usize(..self.table.sections.len());
        let wanted = 3 + self.rng.usize(..10);
        let events = scenario(self.rng, self.program.lawful, wanted);
        let mut events = events.into_iter().peekable();
        while self.program.steps.len() < (wanted + 6).min(STEPS - 12) {
            let place = self.program.steps.len();
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= place) {
                self.push(Act::Event(event));
                for _ in 0..self.rng.usize(..3) {
                    self.use_again();
                }
            }
            if self.program.steps.len() >= wanted && events.peek().is_none() {
                break;
            }
            if self.rng.u8(..10) < 3 {
                self.idiom();
            } else {
                let call = self.choose_call(section);
                self.call(call, 0);
            }
        }
        for (_, event) in events {
            self.push(Act::Event(event));
        }
        // What comes of the last event is to be seen.
        if matches!(self.program.steps.last(), Some(Step { act: Act::Event(_), .. })) {
            for _ in 0..2 {
                let call = self.choose_call(section);
                self.call(call, 2);
            }
        }
    }

    fn push(&mut self, act: Act) -> usize {
        let lane = self.rng.usize(..self.lanes);
        self.program.steps.push(Step { lane, act });
        self.program.steps.len() - 1
    }

    fn choose_call(&mut self, section: usize) -> usize {
        loop {
            let call = self.rng.usize(..self.table.calls.len());
            let known = &self.table.calls[call];
            let fits = known.section == section || self.rng.u8(..10) < 3;
            if fits && self.is_lawful(call) {
                return call;
            }
        }
    }

    /// Uses what was made before: after others have done something, that is what matters.
    fn use_again(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let place = self.rng.usize(..self.made.len());
        let kind = self.made[place].kind.clone();
        let takes = |call: &usize| {
            let arguments = &self.table.calls[*call].arguments;
            arguments.iter().any(|argument| argument.kind == Kind::Fd(Some(kind.clone())))
        };
        let all: Vec<usize> = (0..self.table.calls.len())
            .filter(takes)
            .filter(|call| self.is_lawful(*call))
            .collect();
        if all.is_empty() {
            return;
        }
        let call = all[self.rng.usize(..all.len())];
        self.wanted = Some(place);
        self.call(call, 2);
        self.wanted = None;
    }

    /// Whether a call may be tried in the program.
    fn is_lawful(&self, call: usize) -> bool {
        !self.program.lawful || keeps_to_itself(self.table, call)
    }

    fn idiom(&mut self) {
        let idiom = self.rng.usize(..self.table.idioms.len());
        let parts = self.table.idioms[idiom].clone();
        let lawful = parts.iter().all(|part| match part {
            Part::Call(call, object) => {
                self.is_lawful(*call)
                    && (!self.program.lawful
                        || object.is_none_or(|place| OBJECTS[place].class == Class::Held))
            }
            Part::Event(_) => !self.program.lawful,
        });
        if !lawful {
            return;
        }
        (self.is_idiom, self.last, self.last_endpoint) = (true, None, None);
        for part in parts {
            match part {
                Part::Call(call, object) => {
                    self.object = object;
                    self.call(call, 2);
                    self.object = None;
                }
                Part::Event(event) => drop(self.push(Act::Event(event))),
            }
        }
        self.is_idiom = false;
    }

    /// Adds a call, and before it what gives the descriptors that it needs. `depth` keeps that from going on.
    fn call(&mut self, call: usize, depth: usize) {
        if self.program.steps.len() + 4 > STEPS {
            return;
        }
        let known = self.table.calls[call].clone();
        if depth < 2 {
            for argument in &known.arguments {
                let wanted = match &argument.kind {
                    Kind::Fd(Some(kind)) => kind.as_str(),
                    Kind::Plain(name @ ("map" | "shm" | "sem" | "msg")) => *name,
                    _ => continue,
                };
                if !self.made.iter().any(|made| made.kind == wanted)
                    && self.rng.u8(..10) < 8
                    && let Some(maker) = self.maker(wanted)
                {
                    self.call(maker, depth + 1);
                    if wanted == "sock" && self.rng.u8(..10) < 7 {
                        let next =
                            ["connect", "bind", "sendto_at", "ring_connect"][self.rng.usize(..4)];
                        if let Some(next) = self.table.find(next) {
                            self.call(next, 2);
                        }
                    }
                }
            }
        }
        let mut values = Vec::new();
        let mut socket = None;
        self.binds = known.name.contains("bind");
        self.renames = known.name.contains("rename");
        for argument in &known.arguments {
            let value = self.value(argument, &mut socket);
            values.push(value);
        }
        if matches!(known.name.as_str(), "socket" | "ring_socket") && self.rng.u8(..10) < 9 {
            let endpoint = &ENDPOINTS[self.endpoints[self.rng.usize(..self.endpoints.len())]];
            values[0] = Value::Number(endpoint.family.number().into());
            // Not waiting, mostly: programs are to be many.
            let waits = if self.rng.u8(..10) < 3 { 0 } else { libc::SOCK_NONBLOCK };
            values[1] = Value::Number((endpoint.kind | waits).into());
        }
        let made_socket = match (values.first(), values.get(1)) {
            (Some(Value::Number(family)), Some(Value::Number(kind))) => {
                Some((*family, *kind & 0xf))
            }
            _ => None,
        };
        let step = self.push(Act::Call(call, values));
        for (which, kind) in known.gives.iter().enumerate() {
            let kind = if kind == "same" { "file".to_owned() } else { kind.clone() };
            let socket = if known.name.contains("socket") { made_socket } else { socket };
            self.made.push(Made { step, which, kind, socket });
        }
    }

    /// A call that gives a kind.
    fn maker(&mut self, kind: &str) -> Option<usize> {
        let fits = |call: &usize| {
            let known = &self.table.calls[*call];
            known.gives.iter().any(|gives| gives == kind)
                && !known.guarded
                && !matches!(known.way, Way::Ring(_))
        };
        let all: Vec<usize> =
            (0..self.table.calls.len()).filter(fits).filter(|call| self.is_lawful(*call)).collect();
        if all.is_empty() { None } else { Some(all[self.rng.usize(..all.len())]) }
    }

    fn value(&mut self, argument: &Argument, socket: &mut Option<(i64, i64)>) -> Value {
        match &argument.kind {
            Kind::Fd(kind) => {
                let (fd, found) = self.fd(kind.as_deref());
                *socket = found.or(*socket);
                Value::Fd(fd)
            }
            Kind::At => {
                let dir = self.made.iter().rev().find(|made| made.kind == "dir");
                match dir {
                    Some(made) if self.rng.bool() => Value::Fd(made.fd()),
                    _ => Value::Fd(Fd::Number(libc::AT_FDCWD)),
                }
            }
            Kind::Path => {
                let may_be_same = self.is_idiom && self.object.is_none();
                let same = self.last.clone().filter(|_| may_be_same && self.rng.u8(..10) < 7);
                let path = same.unwrap_or_else(|| self.path(false));
                self.last = Some(path.clone());
                path
            }
            Kind::Folder => self.folder(),
            Kind::MadePath => Value::Path(self.new_name(0), Form::Absolute),
            Kind::NewPath => self.path(true),
            Kind::Num(all) => Value::Number(all[self.rng.usize(..all.len())]),
            Kind::One(set) => Value::Number(self.of_set(set)),
            Kind::Set(set) => {
                let mut value = self.of_set(set);
                while self.rng.u8(..10) < 3 {
                    value |= self.of_set(set);
                }
                Value::Number(value)
            }
            Kind::Text(set) => {
                let lawful = self.program.lawful;
                let all: Vec<&String> = self
                    .table
                    .texts(set)
                    .iter()
                    .filter(|text| !text.1 || !lawful)
                    .map(|text| &text.0)
                    .collect();
                Value::Text(all[self.rng.usize(..all.len())].clone())
            }
            Kind::Plain(name) => self.plain(name, *socket),
        }
    }

    fn of_set(&mut self, set: &str) -> i64 {
        let all = self.table.numbers(set);
        loop {
            let (value, guarded) = all[self.rng.usize(..all.len())];
            if !guarded || !self.program.lawful {
                return value;
            }
        }
    }

    /// A descriptor, rather of a kind; and which socket it is.
    fn fd(&mut self, kind: Option<&str>) -> (Fd, Option<(i64, i64)>) {
        if let Some(made) = self.wanted.take().and_then(|place| self.made.get(place)) {
            return (made.fd(), made.socket);
        }
        let fits: Vec<&Made> =
            self.made.iter().filter(|made| kind.is_none_or(|kind| made.kind == kind)).collect();
        if !fits.is_empty() && self.rng.u8(..100) < 92 {
            // Rather one of the last.
            let back = self.rng.usize(..fits.len()).min(self.rng.usize(..fits.len()));
            let made = fits[fits.len() - 1 - back];
            return (made.fd(), made.socket);
        }
        if !self.made.is_empty() && self.rng.bool() {
            let made = &self.made[self.rng.usize(..self.made.len())];
            return (made.fd(), made.socket);
        }
        let number =
            if self.program.lawful { -1 } else { [0, 0, 1, 1, 2, -1][self.rng.usize(..6)] };
        (Fd::Number(number), None)
    }

    fn path(&mut self, is_new: bool) -> Value {
        if let Some(object) = self.object.take() {
            return Value::Path(object, self.form(object));
        }
        if !is_new && !self.program.lawful && self.rng.u8(..100) < 8 {
            return Value::Through(self.fd(None).0);
        }
        let fits = |place: &usize| {
            let object = &OBJECTS[*place];
            (object.content == Content::Nothing) == is_new
                && (!self.program.lawful || object.class == Class::Held)
                // A denied file would go with it.
                && !(self.program.lawful && self.renames && object.name == "own")
        };
        let known: Vec<usize> = self.objects.iter().copied().filter(fits).collect();
        let all: Vec<usize> = (0..OBJECTS.len()).filter(fits).collect();
        let from = if known.is_empty() || self.rng.u8(..10) < 3 { &all } else { &known };
        let object = match from.as_slice() {
            [] => self.rng.usize(..OBJECTS.len()),
            from => from[self.rng.usize(..from.len())],
        };
        // A name may be taken by then, and is the way to what was put there.
        let object =
            if !is_new && self.rng.u8(..100) < 12 { self.new_name(object) } else { object };
        Value::Path(object, self.form(object))
    }

    /// A form of an object's name.
    fn form(&mut self, object: usize) -> Form {
        let form = if OBJECTS[object].name.starts_with("fat/") && self.rng.bool() {
            Form::Capitals
        } else if self.rng.u8(..10) < 7 {
            Form::Absolute
        } else {
            FORMS[self.rng.usize(..FORMS.len())].0
        };
        // Another name, of which the session has no part.
        if self.program.lawful && form == Form::Capitals { Form::Odd } else { form }
    }

    /// A name, rather of a folder.
    fn folder(&mut self) -> Value {
        if let Some(object) = self.object.take() {
            return Value::Path(object, Form::Absolute);
        }
        let lawful = self.program.lawful;
        let fits = |place: &usize| {
            let object = &OBJECTS[*place];
            object.content == Content::Folder && (!lawful || object.class == Class::Held)
        };
        let all: Vec<usize> = (0..OBJECTS.len()).filter(fits).collect();
        if self.rng.u8(..10) < 2 {
            return self.path(false);
        }
        Value::Path(all[self.rng.usize(..all.len())], Form::Absolute)
    }

    /// A name that nothing has at first.
    fn new_name(&mut self, otherwise: usize) -> usize {
        let fits = |place: &usize| {
            OBJECTS[*place].content == Content::Nothing && OBJECTS[*place].class == Class::Held
        };
        let all: Vec<usize> = (0..OBJECTS.len()).filter(fits).collect();
        if all.is_empty() { otherwise } else { all[self.rng.usize(..all.len())] }
    }

    fn plain(&mut self, name: &str, socket: Option<(i64, i64)>) -> Value {
        let mut any = |most: i64| Value::Made(self.rng.i64(0..most));
        match name {
            "len" => Value::Number([0, 1, 17, 256, 4096][self.rng.usize(..5)]),
            "off" => Value::Number([0, 0, 0, 1, 64, 4096, -1][self.rng.usize(..7)]),
            "maplen" => Value::Number(if self.rng.u8(..4) == 0 { 61_440 } else { 4096 }),
            "lenout" => Value::Number(128),
            "sig" => Value::Number([0, 15, 10, 19, 18, 9, 1, 23][self.rng.usize(..8)]),
            "msgin" | "mmsgin" => {
                let address = self.rng.bool().then(|| self.address(socket));
                let passed = (self.rng.u8(..10) < 4).then(|| self.fd(None).0);
                Value::Message(address, passed)
            }
            "msgout" => Value::Message(None, None),
            "addr" => Value::Address(self.address(socket)),
            "map" => match self.last_of(&["map"]) {
                Some(fd) => Value::Fd(fd),
                None => Value::Fd(Fd::Number(-1)),
            },
            "shm" | "sem" | "msg" => match self.last_of(&[name]) {
                Some(fd) if self.rng.u8(..10) < 8 => Value::Fd(fd),
                _ => Value::Made(0),
            },
            "clone" => {
                let group = self.last_of(&["path", "dir", "file"]);
                match group {
                    Some(fd) if self.rng.u8(..10) < 8 => Value::Fd(fd),
                    _ => Value::Made(0),
                }
            }
            "addrany" => any(6),
            "pid" | "pidword" => any(7),
            "id" => any(3),
            "how" => any(12),
            "flock" => any(3),
            "optval" => Value::Made(self.of_set("option_values")),
            _ => Value::Made(0),
        }
    }

    /// What was made last of some kinds.
    fn last_of(&self, kinds: &[&str]) -> Option<Fd> {
        let mut all = self.made.iter().rev();
        all.find(|made| kinds.contains(&made.kind.as_str())).map(Made::fd)
    }

    fn address(&mut self, socket: Option<(i64, i64)>) -> Address {
        let fits = |place: &&usize| {
            socket.is_none_or(|(wanted, kind)| {
                let endpoint = &ENDPOINTS[**place];
                i64::from(endpoint.kind) == kind && i64::from(endpoint.family.number()) == wanted
            })
        };
        let places: Vec<usize> = (0..ENDPOINTS.len()).collect();
        let (lawful, binds) = (self.program.lawful, self.binds);
        let is_lawful = |place: &&usize| {
            let endpoint = &ENDPOINTS[**place];
            !lawful || endpoint.class == Class::Held && endpoint.served != binds
        };
        let known: Vec<usize> =
            self.endpoints.iter().filter(fits).filter(is_lawful).copied().collect();
        let all: Vec<usize> = places.iter().filter(fits).filter(is_lawful).copied().collect();
        let from = if !known.is_empty() && self.rng.u8(..10) < 8 { &known } else { &all };
        let lawful_ones: Vec<usize> = places.iter().filter(is_lawful).copied().collect();
        let from = if from.is_empty() { &lawful_ones } else { from };
        let mut endpoint = from[self.rng.usize(..from.len())];
        if self.is_idiom
            && let Some(last) = self.last_endpoint.filter(|last| all.contains(last))
            && self.rng.u8(..10) < 7
        {
            endpoint = last;
        }
        self.last_endpoint = Some(endpoint);
        let form = match self.rng.u8(..100) {
            0..60 => AddressForm::Plain,
            _ if lawful => AddressForm::Plain,
            _ => ADDRESS_FORMS[self.rng.usize(..ADDRESS_FORMS.len())].0,
        };
        Address { endpoint, form }
    }
}
