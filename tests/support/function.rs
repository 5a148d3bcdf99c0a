//! The function's binary, or another that does its job, as a process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::aws::Aws;

pub struct Function {
    process: Child,
}

impl Function {
    /// Starts it, limited as Lambda limits it: 256 MB of memory and so many file descriptors.
    pub fn start(aws: &Aws, descriptors: usize, settings: &[(&str, &str)]) -> Self {
        let megabytes = 256;
        let limits = format!(
            "ulimit -d {} && ulimit -n {descriptors} && exec {}",
            megabytes * 1024,
            env!("CARGO_BIN_EXE_invalidator")
        );
        let mut command = Command::new("sh");
        command.args(["-c", &limits]).env_clear();
        command.envs(settings.iter().copied());
        command.env("RUST_LOG", "warn");
        Self::spawn(aws, command)
    }

    /// Starts any program that answers Lambda's invocations.
    pub fn spawn(aws: &Aws, mut command: Command) -> Self {
        command.envs(aws.environment());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self {
            process: command.spawn().unwrap(),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The most memory it ever had, in bytes.
    pub fn peak_bytes(&self) -> usize {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        kibibytes.unwrap().parse::<usize>().unwrap() * 1024
    }

    /// The most memory it ever had, in MiB.
    pub fn peak(&self) -> usize {
        self.peak_bytes() / (1024 * 1024)
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

    /// Tells it to end, and waits until it has.
    pub fn terminate(mut self) {
        kill(pid(self.id()), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processor time of a process since its start: in user and kernel mode, of all its threads, also
/// those that have ended. `/proc/stat` counts in steps of 10 ms, which is more than a cold start takes.
pub fn processor_time(process: u32) -> Duration {
    let clock = clock_getcpuclockid(pid(process)).unwrap();
    clock.now().unwrap().into()
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap())
}
