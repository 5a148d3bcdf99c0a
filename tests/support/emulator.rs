//! A local AWS emulator, as a process of its own for each test process: ministack, or moto with
//! `EMULATOR=moto`, so that the habits of one are not mistaken for AWS's.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Moto's own server answers calls side by side, but its queues are not made for that: now and then a
/// deleted message is back.
const MOTO: &str = "
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple('127.0.0.1', int(sys.argv[1]), DomainDispatcherApplication(create_backend_app))
";

/// Which emulator it is.
#[derive(Clone, Copy)]
enum Program {
    Ministack,
    Moto,
}

impl Program {
    fn chosen() -> Self {
        match std::env::var("EMULATOR").as_deref() {
            Err(_) | Ok("ministack") => Self::Ministack,
            Ok("moto") => Self::Moto,
            Ok(other) => panic!("EMULATOR={other}: it is ministack or moto"),
        }
    }

    fn python(self) -> &'static str {
        match self {
            Self::Ministack => ".venv/bin/python",
            Self::Moto => ".venv/moto/bin/python",
        }
    }

    fn command(self, python: &Path, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(python);
        command.env_clear();
        match self {
            Self::Ministack => command
                .args(["-m", "ministack"])
                .env("S3_DATA_DIR", folder.join("s3"))
                .env("STATE_DIR", folder.join("state"))
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string()),
            Self::Moto => command.args(["-c", MOTO, &port.to_string()]),
        };
        command
    }

    /// A page that answers 200 when it has started.
    fn health(self) -> &'static str {
        match self {
            Self::Ministack => "/_ministack/health",
            Self::Moto => "/moto-api/",
        }
    }
}

/// A running emulator. It is ended, and its files are removed, when dropped.
pub struct Emulator {
    process: Child,
    folder: PathBuf,
    endpoint_url: String,
}

impl Emulator {
    /// Starts it on a free loopback port, and waits until it answers.
    pub async fn start() -> Self {
        for _ in 0..5 {
            if let Some(emulator) = Self::try_start().await {
                return emulator;
            }
        }
        panic!("the emulator does not start");
    }

    /// `None` if another program took the port between our looking and the emulator's listening.
    async fn try_start() -> Option<Self> {
        let root = repository();
        let program = Program::chosen();
        let python = root.join(program.python());
        assert!(
            python.exists(),
            "{} is missing: run `make test`, which sets up the emulators",
            python.display()
        );
        let port = free_port();
        let folder = root.join(format!(".local/test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = program
            .command(&python, &folder, port)
            .current_dir(&folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut emulator = Self {
            process,
            folder,
            endpoint_url: format!("http://127.0.0.1:{port}"),
        };
        emulator.answers(program, port).await.then_some(emulator)
    }

    async fn answers(&mut self, program: Program, port: u16) -> bool {
        for _ in 0..1_500 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if is_healthy(program, port).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the emulator does not answer");
    }

    /// For the clients' `endpoint_url`.
    pub fn endpoint_url(&self) -> String {
        self.endpoint_url.clone()
    }
}

/// The root of the workspace, from whichever of its packages is tested.
fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = package.ancestors();
    folders
        .find(|folder| folder.join("Cargo.lock").exists())
        .unwrap()
}

/// A port nobody listens on, below those that the system hands out to others: the stand-ins of other
/// tests take theirs from there.
fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(12_000..32_000));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).unwrap()
}

async fn is_healthy(program: Program, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let page = program.health();
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.split(' ').nth(1) == Some("200")
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
