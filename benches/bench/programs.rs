//! What is measured: the function and its peers, as processes against the tests' account.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use strict_cloudfront::{Distribution, Origin};

use crate::support::aws::Aws;
use crate::support::function::Function;

pub const BUCKET: &str = "example-site";
pub const DISTRIBUTION: &str = "E1WWWEXAMPLE01";
/// Under valgrind all takes fifty times as long.
pub const TIMEOUT: Duration = Duration::from_secs(150);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where what is built for the bench, and its logs, are.
pub fn out() -> PathBuf {
    let out = root().join("target/bench");
    fs::create_dir_all(&out).unwrap();
    out
}

/// A program that answers events, or that does one thing and ends.
#[derive(Clone)]
pub struct Program {
    pub name: &'static str,
    command: Vec<PathBuf>,
    environment: Vec<(&'static str, &'static str)>,
    folder: PathBuf,
    /// The variable that names a file of root certificates, and the file, if it makes its calls over TLS.
    roots: Option<(&'static str, PathBuf)>,
}

impl Program {
    fn new<const N: usize>(name: &'static str, command: [&Path; N], folder: &Path) -> Self {
        Self {
            name,
            command: command.map(Path::to_owned).to_vec(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            roots: None,
        }
    }

    /// The same over TLS, where the variable names the root certificates.
    pub fn over_tls(mut self, variable: &'static str, roots: PathBuf) -> Self {
        self.roots = Some((variable, roots));
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The same under another program, such as valgrind.
    pub fn under(mut self, tool: &[PathBuf]) -> Self {
        self.command.splice(0..0, tool.iter().cloned());
        self
    }

    /// The command, with an environment that is the same in every run: the instructions of a start
    /// depend on it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(&self.folder);
        command.env_clear().envs(self.environment.iter().copied());
        command.envs([("HOME", "/nonexistent"), ("LANG", "C.UTF-8")]);
        command
    }

    /// Starts it in an account of its own, with one distribution.
    pub async fn start(&self) -> Run {
        let mut command = self.command();
        let aws = match &self.roots {
            Some((variable, roots)) => {
                command.env(variable, roots);
                Aws::start_with_tls().await
            }
            None => Aws::start().await,
        };
        command.env("AWS_DEFAULT_REGION", "us-east-1");
        command.envs([
            ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
        ]);
        // So long that all events of a run fall into one window or two.
        command.env("DEBOUNCE_SECONDS", "300");
        let log = out().join(format!("{}.log", self.name));
        command.stderr(File::create(log).unwrap());
        let function = Function::spawn(&aws, command);
        let site = Distribution::new(DISTRIBUTION, Origin::s3("s3", BUCKET));
        let mut account = aws.account();
        account.process = Some(function.id());
        account.tags = vec![("exceptionPaths", "resources/upload:tmp")];
        account.cloudfront.put_distribution(site);
        drop(account);
        Run {
            name: self.name,
            aws,
            function,
        }
    }
}

/// A running program.
pub struct Run {
    name: &'static str,
    pub aws: Aws,
    pub function: Function,
}

impl Run {
    /// Hands out an event so many times, one after another. Returns the processor time of the process
    /// when it gave the last answer.
    pub async fn invoke(&self, event: &str, times: usize) -> f64 {
        for _ in 0..times {
            let answer = self.aws.invoke(event.to_owned(), TIMEOUT).await;
            self.succeeded(answer);
        }
        self.processor()
    }

    /// Lets it flush what is in the buffer once.
    pub async fn flush_alone(&self) {
        let comes_back = self.succeeded(self.aws.flush(TIMEOUT).await);
        assert!(!comes_back, "{} does not flush all", self.name);
    }

    /// Lets it flush what is in the buffer, for as long as the tick comes back, and submit what it put into SubmitQueue.
    pub async fn flush(&self) -> f64 {
        let mut ticks = 0;
        while self.succeeded(self.aws.flush(TIMEOUT).await) {
            ticks += 1;
            assert!(ticks < 10, "{} does not flush all", self.name);
        }
        let returned = self.succeeded(self.aws.submit(TIMEOUT).await);
        assert_eq!(returned, 0, "{} did not submit all", self.name);
        self.processor()
    }

    fn succeeded<T>(&self, answer: Result<T, String>) -> T {
        let log = out().join(format!("{}.log", self.name));
        answer.unwrap_or_else(|error| panic!("{}: {error}, see {}", self.name, log.display()))
    }

    fn processor(&self) -> f64 {
        self.aws.account().processor.as_secs_f64()
    }
}

/// All of them.
pub struct Programs {
    pub ours: Program,
    pub boto3: Program,
    pub boto3_packed: Program,
    pub boto3_flush: Program,
    pub node: Program,
    pub node_packed: Program,
    pub core: Program,
    pub boto3_plan: Program,
    pub node_plan: Program,
}

/// The function, as `make build` builds it for this machine.
pub fn function() -> PathBuf {
    lambda("invalidator").join("bootstrap")
}

fn lambda(name: &str) -> PathBuf {
    root().join("target/lambda").join(processor()).join(name)
}

/// This machine's, in Lambda's words.
pub fn processor() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The parts of the function that need no AWS.
pub fn core() -> Program {
    let file = lambda("bench-core").join("bootstrap");
    Program::new("bench-core", [&file], root())
}

pub fn ours() -> Program {
    Program::new("ours", [&function()], root())
}

impl Programs {
    /// All that is measured. Ends the bench if something is not built.
    pub fn built() -> Self {
        let peers = root().join("benches/peers");
        let python = root().join(".venv/peers/bin/python");
        let node = which("node");
        let folder = peers.join("boto3");
        let handler = |name, handler: &str, folder: &Path| {
            let command = [
                python.as_path(),
                Path::new("-m"),
                Path::new("awslambdaric"),
                Path::new(handler),
            ];
            Program::new(name, command, folder).with("LAMBDA_TASK_ROOT", ".")
        };
        let ingest = |name, file: &Path| {
            let program = Program::new(name, [&node, file], root());
            program.with("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true")
        };
        let bundled = out().join("node");
        let packed = handler(
            "boto3 as SAM packs it",
            "ingest.handler",
            &out().join("boto3"),
        );
        for file in [
            &function(),
            &python,
            &bundled.join("ingest.cjs"),
            &packed.folder,
        ] {
            assert!(
                file.exists(),
                "{} is not built: `make bench` does",
                file.display()
            );
        }
        Self {
            ours: ours(),
            boto3: handler("boto3", "ingest.handler", &folder),
            boto3_packed: packed.with("PYTHONDONTWRITEBYTECODE", "1"),
            boto3_flush: handler("boto3", "flush.handler", &folder),
            node: ingest("Node", &bundled.join("ingest.cjs")),
            node_packed: ingest("Node as SAM packs it", &peers.join("node/src/ingest.js")),
            core: core(),
            boto3_plan: Program::new("Python", [&python, &folder.join("plan.py")], &folder),
            node_plan: Program::new("Node", [&node, &bundled.join("plan.cjs")], root()),
        }
    }
}

/// A tool of this machine.
pub fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = files.into_iter().find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing"))
}

/// What the figures were measured on, and with.
pub fn machine(programs: &Programs) -> String {
    let first_line = |command: &mut Command| {
        let printed = command.output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        printed.lines().next().unwrap_or_default().to_owned()
    };
    let said = |program: &Path| first_line(Command::new(program).arg("--version"));
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or(processor())
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().unwrap();
    let pinned = |file: &str, name: &str| {
        let text = fs::read_to_string(root().join("benches/peers").join(file)).unwrap();
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        line.trim().trim_end_matches(',').replace('"', "")
    };
    let boto3 = pinned("boto3/requirements.in", "boto3==");
    let sdk = pinned("node/package.json", "client-sqs");
    let rows = [
        ("", String::new()),
        ("---", "---".to_owned()),
        ("date", first_line(Command::new("date").arg("+%Y-%m-%d"))),
        ("processor", format!("{cores} cores of {model}")),
        ("system", first_line(Command::new("uname").arg("-sr"))),
        ("Rust", said(Path::new("rustc"))),
        (
            "Python",
            format!("{}, {boto3}", said(&programs.boto3.command[0])),
        ),
        (
            "Node",
            format!("{}, {sdk}", said(&programs.node.command[0])),
        ),
        ("valgrind", said(Path::new("valgrind"))),
    ];
    let rows = rows.map(|(name, value)| format!("| {name} | {value} |\n"));
    rows.concat()
}
