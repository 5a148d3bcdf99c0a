//! Random choices, read from a tape of bytes: a generator turns a tape into a case.
//!
//! All generators make the simplest choice for a zero and at the end of the tape. So a tape that is
//! shorter or has smaller bytes is a simpler case, and failing cases can be shrunk without knowing what
//! the bytes mean.

use proptest::prelude::Rng;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// The length of a tape: more than the largest case reads.
const LENGTH: usize = 1_536;

/// A tape and how far it was read.
pub struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tape<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end <= 256 {
            self.byte() * end / 256
        } else {
            (self.byte() * 256 + self.byte()) * end / 65_536
        }
    }

    /// `true` in this many of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    pub fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}

/// All tapes.
#[derive(Debug)]
pub struct Tapes;

impl Strategy for Tapes {
    type Tree = Shrinking;
    type Value = Vec<u8>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        // One number of proptest's generator and splitmix64 from there on: filling the tape must
        // not take longer than the case.
        let mut state = runner.rng().next_u64();
        let mut tape = Vec::with_capacity(LENGTH);
        while tape.len() < LENGTH {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            tape.extend((word ^ (word >> 31)).to_le_bytes());
        }
        Ok(Shrinking {
            tape,
            before: None,
            pass: 0,
            at: 0,
            smaller: false,
        })
    }
}

/// A tape that is shrunk as long as its case still fails.
pub struct Shrinking {
    tape: Vec<u8>,
    before: Option<Vec<u8>>,
    pass: usize,
    at: usize,
    smaller: bool,
}

/// What shrinking tries at each position.
#[derive(Clone, Copy)]
enum Step {
    Cut(usize),
    Set(fn(u8) -> u8),
}

const STEPS: [Step; 8] = [
    Step::Cut(512),
    Step::Cut(128),
    Step::Cut(32),
    Step::Cut(8),
    Step::Cut(1),
    Step::Set(|_| 0),
    Step::Set(|byte| byte / 2),
    Step::Set(|byte| byte.saturating_sub(1)),
];

impl Shrinking {
    fn next(&mut self) -> bool {
        loop {
            let Some(step) = STEPS.get(self.pass) else {
                if !self.smaller {
                    return false;
                }
                (self.pass, self.at, self.smaller) = (0, 0, false);
                continue;
            };
            if self.at >= self.tape.len() {
                (self.pass, self.at) = (self.pass + 1, 0);
                continue;
            }
            let mut next = self.tape.clone();
            match step {
                Step::Cut(length) => {
                    next.drain(self.at..self.tape.len().min(self.at + length));
                }
                Step::Set(change) => next[self.at] = change(next[self.at]),
            }
            if next == self.tape {
                self.at += 1;
                continue;
            }
            self.before = Some(std::mem::replace(&mut self.tape, next));
            return true;
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Vec<u8>;

    fn current(&self) -> Vec<u8> {
        self.tape.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.before.take().is_some() {
            self.smaller = true;
            if matches!(STEPS.get(self.pass), Some(Step::Set(_))) {
                self.at += 1;
            }
        }
        self.next()
    }

    fn complicate(&mut self) -> bool {
        let Some(before) = self.before.take() else {
            return false;
        };
        self.tape = before;
        self.at += match STEPS.get(self.pass) {
            Some(Step::Cut(length)) => *length,
            _ => 1,
        };
        self.next()
    }
}
