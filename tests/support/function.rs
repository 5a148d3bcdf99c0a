//! The function's binary as a process, limited as Lambda limits it.

use std::process::{Child, Command, Stdio};

use super::aws::Aws;

pub struct Function {
    process: Child,
}

impl Function {
    /// Starts it with 256 MB of memory and so many file descriptors.
    pub fn start(aws: &Aws, descriptors: usize, settings: &[(&str, &str)]) -> Self {
        let megabytes = 256;
        let limits = format!(
            "ulimit -d {} && ulimit -n {descriptors} && exec {}",
            megabytes * 1024,
            env!("CARGO_BIN_EXE_invalidator")
        );
        let process = Command::new("sh")
            .args(["-c", &limits])
            .env_clear()
            .envs(aws.environment())
            .envs(settings.iter().copied())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process }
    }

    /// The most memory it ever had, in MiB.
    pub fn peak(&self) -> usize {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        kibibytes.unwrap().parse::<usize>().unwrap() / 1024
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Ends it at once, as Lambda does at the deadline.
    pub fn kill(mut self, aws: &Aws) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        aws.process_died();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
