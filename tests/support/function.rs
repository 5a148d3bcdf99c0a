//! The function's binary, or another that does its job, as a process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
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

    /// Starts it with a library loaded first, which moves its wall clock by the seconds in a file.
    pub fn start_with_clock(aws: &Aws, clock: &WallClock) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_invalidator"));
        command.env_clear().env("RUST_LOG", "warn");
        command.env("LD_PRELOAD", &clock.library);
        command.env("CLOCK_AHEAD_FILE", &clock.seconds);
        Self::spawn(aws, command)
    }

    /// Starts it with all it logs by default, and returns its log.
    pub fn start_with_log(aws: &Aws, settings: &[(&str, &str)]) -> (Self, Log) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_invalidator"));
        command.env_clear().envs(aws.environment());
        command.envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = Log::default();
        let (lines, output) = (Arc::clone(&log.0), process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        (Self { process }, log)
    }

    /// Stops it, as Lambda freezes an environment between two invocations.
    pub fn freeze(&self) {
        kill(pid(self.id()), Signal::SIGSTOP).unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill(pid(self.id()), Signal::SIGCONT).unwrap();
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

    /// Waits until it has ended by itself, and tells whether it succeeded.
    pub fn end(mut self) -> bool {
        self.process.wait().unwrap().success()
    }

    /// Tells it to end, and waits until it has.
    pub fn terminate(mut self) {
        kill(pid(self.id()), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }
}

/// What a function has logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// All lines so far. An invocation that was answered has logged its lines before.
    pub fn lines(&self) -> Vec<String> {
        // The pipe may hold lines that were not read yet: wait until nothing more comes.
        let mut count = usize::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let lines = self.0.lock().unwrap();
            if lines.len() == count {
                return lines.clone();
            }
            count = lines.len();
        }
    }
}

/// A wall clock that can be put forward for one process, while its monotonic clock goes on as before.
pub struct WallClock {
    library: PathBuf,
    seconds: PathBuf,
}

impl WallClock {
    /// Compiles the library. `name` tells the tests of one run apart.
    pub fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join(format!("{name}-wall-clock.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wall_clock.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status()
            .unwrap();
        assert!(compiled.success());
        let clock = Self {
            library,
            seconds: directory.join(format!("{name}-seconds-ahead")),
        };
        clock.put_forward(Duration::ZERO);
        clock
    }

    /// From now on the process's wall clock is so far ahead of this machine's.
    pub fn put_forward(&self, ahead: Duration) {
        let new = self.seconds.with_extension("new");
        fs::write(&new, ahead.as_secs().to_string()).unwrap();
        fs::rename(&new, &self.seconds).unwrap();
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
