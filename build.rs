//! How the function is linked.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=without-unwinding.ld");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if is_release && is_gnu {
        // At a fixed address nothing has to be relocated at the start: a twelfth of the instructions
        // of a first event, and a third of a megabyte of memory that is written to and so not shared.
        // Stack, heap and libraries stay where chance puts them.
        println!("cargo::rustc-link-arg-bin=invalidator=-no-pie");
        // From the folder that cargo links in, this one: a clone that is moved still links.
        println!("cargo::rustc-link-arg-bin=invalidator=-Twithout-unwinding.ld");
    }
}
