//! Help, completions, manual pages, and the exit status.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::text;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(arguments)
        .env_remove("AWS_PROFILE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_command_line_that_cannot_be_used_is_status_2() {
    for arguments in [
        &[][..],
        &["plan"],
        &["paint"],
        &["mode", "paused"],
        &["replay"],
        &["replay", "--submit-queue", "queue", "key"],
        &["bill", "--month", "9999-01"],
        &["completions", "none"],
        &["man", "none"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(output.stdout), "", "{arguments:?}");
        assert_ne!(text(output.stderr), "", "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "replay"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_ne!(text(output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn each_command_has_help_with_an_example_and_a_manual_page() {
    let page = text(run(&["man"]).stdout);
    assert!(page.contains(".TH invalidatorctl 1"), "{page}");
    let help = text(run(&["--help"]).stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands = commands.lines().map_while(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        Some(name.to_owned())
    });
    // Lines that go on begin with more blanks.
    let commands: Vec<String> = commands
        .filter(|it| !it.is_empty() && it != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands.iter().map(String::as_str) {
        assert!(page.contains(command), "{command}");
        let help = text(run(&[command, "--help"]).stdout);
        let example = format!("\n  invalidatorctl {command}");
        assert!(help.contains(&example), "{help}");
        let page = text(run(&["man", command]).stdout);
        assert!(
            page.contains(".SH SYNOPSIS") && page.contains("Example"),
            "{page}"
        );
    }
}

#[test]
fn completions_are_scripts_that_the_shell_reads() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(run(&["completions", shell]).stdout);
        for word in ["invalidatorctl", "replay", "submit-queue"] {
            assert!(script.contains(word), "{shell} {word}");
        }
    }
    let script = run(&["completions", "bash"]).stdout;
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
}
