//! The local AWS emulator, as a process of its own for each test process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
        let python = root.join(".venv/bin/python");
        assert!(
            python.exists(),
            "the emulator is not set up: run `make test`, which sets it up"
        );
        let port = free_port();
        let folder = root.join(format!(".local/test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = Command::new(python)
            .args(["-m", "ministack"])
            .current_dir(&folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .env("S3_DATA_DIR", folder.join("s3"))
            .env("STATE_DIR", folder.join("state"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
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
        emulator.answers(port).await.then_some(emulator)
    }

    async fn answers(&mut self, port: u16) -> bool {
        for _ in 0..1_500 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if is_healthy(port).await {
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

async fn is_healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let request = "GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
