//! The local AWS emulator, as a process of its own for each test process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running emulator. It is ended, and its files are removed, when dropped.
pub struct Emulator {
    process: Child,
    folder: PathBuf,
    endpoint_url: String,
}

impl Emulator {
    /// Starts it on a free loopback port, and waits until it answers.
    pub async fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".venv/bin/python");
        assert!(
            python.exists(),
            "the emulator is not set up: run `make test`, which sets it up"
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = root.join(format!(".local/test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let endpoint_url = format!("http://127.0.0.1:{port}");
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
            endpoint_url,
        };
        emulator.wait_until_it_answers().await;
        emulator
    }

    async fn wait_until_it_answers(&mut self) {
        let address = self.endpoint_url.trim_start_matches("http://").to_owned();
        for _ in 0..1_500 {
            if tokio::net::TcpStream::connect(&address).await.is_ok() {
                return;
            }
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "the emulator ended at once"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the emulator does not answer");
    }

    /// For the clients' `endpoint_url`.
    pub fn endpoint_url(&self) -> String {
        self.endpoint_url.clone()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
