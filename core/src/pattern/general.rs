//! Matches patterns of every form, in a time that no pattern and no text can make long.
//!
//! A greedy search with one backtracking point matches nearly all patterns with few steps. Some texts make
//! it compare the same bytes again and again: `a` a thousand times does, with a pattern of `?` between
//! long runs of `a`. So what it compared in vain is counted. Above [`IN_VAIN`] for each byte of the text,
//! the rest of the pattern is matched in blocks of 64 bytes, and each block takes one step for each byte of
//! the text. In all, that is at most `IN_VAIN + 3 + pattern / 64` steps for each byte of the text.
//!
//! Both texts are UTF-8, so literals can be compared byte by byte; `?` and `*` step over whole characters.

/// How many comparisons in vain the greedy search may make for each byte of the text. CloudFront's longest
/// pattern, 255 bytes, has four blocks, which take as long: so no match takes much more than twice as long as
/// the better way.
const IN_VAIN: usize = 4;

/// Whether the whole text matches.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_in_steps(pattern, text).0
}

/// Whether the whole text matches, and at most how many steps it took to find out.
///
/// On a mismatch, the last `*` takes some characters more. An earlier `*` never has to take more, because
/// the last `*` can take those characters too.
fn matches_in_steps(pattern: &[u8], text: &[u8]) -> (bool, usize) {
    let (mut p, mut t) = (0, 0);
    // Where the pattern goes on behind its last `*`, and where the text does.
    let mut last_star: Option<(usize, usize)> = None;
    let mut in_vain = 0;
    while t < text.len() {
        let next = match pattern.get(p) {
            Some(b'*') => Some((p + 1, t)),
            Some(b'?') => {
                p += 1;
                t += character_length(text[t]);
                continue;
            }
            Some(literal) if *literal == text[t] => {
                p += 1;
                t += 1;
                continue;
            }
            _ => last_star.map(|(after_star, taken)| {
                in_vain += p - after_star + 1;
                (after_star, taken + character_length(text[taken]))
            }),
        };
        let next = next.and_then(|(after_star, taken)| {
            let taken = next_place(pattern.get(after_star), text, taken)?;
            Some((after_star, taken))
        });
        let Some((after_star, taken)) = next else {
            return (false, in_vain + p + text.len());
        };
        if in_vain > IN_VAIN * text.len() {
            let (matches, steps) = ends_in(&pattern[after_star..], &text[taken..]);
            return (matches, in_vain + p + text.len() + steps);
        }
        last_star = next;
        (p, t) = (after_star, taken);
    }
    let matches = pattern[p..].iter().all(|byte| *byte == b'*');
    (matches, in_vain + p + text.len())
}

/// The first place from `from` on where the pattern may go on behind a `*`, if its next byte is this one.
fn next_place(next: Option<&u8>, text: &[u8], from: usize) -> Option<usize> {
    match next {
        None => Some(text.len()),
        Some(b'*' | b'?') => Some(from),
        Some(literal) => {
            let mut places = from..text.len();
            places.find(|place| text[*place] == *literal)
        }
    }
}

/// How many bytes the UTF-8 character has that begins with `first`.
fn character_length(first: u8) -> usize {
    match first {
        0x00..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}

/// Whether the text ends in something that matches, as with a `*` before the pattern, and in how many steps.
fn ends_in(pattern: &[u8], text: &[u8]) -> (bool, usize) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let mut pattern = &pattern[stars..];
    // For each number of bytes, whether the pattern so far matches so much of the text.
    let mut reached = vec![true; text.len() + 1];
    let mut steps = 0;
    while !pattern.is_empty() {
        let (block, rest) = Block::first_of(pattern);
        block.pass(&mut reached, text);
        steps += text.len();
        if !reached.contains(&true) {
            return (false, steps);
        }
        pattern = rest;
    }
    (reached[text.len()], steps)
}

/// At most 64 bytes of a pattern, not counting each `*`, which belongs to the byte before it. Bit `n` of
/// each number is about byte `n`.
struct Block {
    /// Which of its bytes match this byte of the text.
    literals: [u64; 256],
    /// Which of its bytes are `?`.
    any: u64,
    /// Which of its bytes have a `*` behind them.
    stars: u64,
    /// Its last byte.
    last: u64,
}

impl Block {
    /// The first block of a pattern that does not begin with `*`, and what is left of the pattern.
    fn first_of(pattern: &[u8]) -> (Self, &[u8]) {
        let mut block = Self {
            literals: [0; 256],
            any: 0,
            stars: 0,
            last: 0,
        };
        let mut next = 1_u64;
        for (place, byte) in pattern.iter().enumerate() {
            match byte {
                b'*' => block.stars |= block.last,
                _ if next == 0 => return (block, &pattern[place..]),
                b'?' => block.any |= next,
                literal => block.literals[usize::from(*literal)] |= next,
            }
            if *byte != b'*' {
                block.last = next;
                next <<= 1;
            }
        }
        (block, &[])
    }

    /// Turns what the pattern before this block matches into what it matches together with this block.
    fn pass(&self, reached: &mut [bool], text: &[u8]) {
        let mut before = std::mem::take(&mut reached[0]);
        // Up to which of the block's bytes the pattern matches the text so far.
        let mut matched = 0_u64;
        for (byte, reached) in text.iter().zip(&mut reached[1..]) {
            // A `?` takes the first byte of a character, and then the others.
            let (any, stay) = match byte {
                0x80..=0xbf => (0, self.stars | self.any),
                _ => (self.any, self.stars),
            };
            let next = matched << 1 | u64::from(before);
            matched = next & (self.literals[usize::from(*byte)] | any) | matched & stay;
            before = std::mem::replace(reached, matched & self.last != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious way: for each beginning of the pattern, which beginnings of the text it matches.
    fn matches_slowly(pattern: &str, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for wanted in pattern.chars() {
            reached = (0..=text.len())
                .map(|length| match wanted {
                    '*' => reached[..=length].contains(&true),
                    _ => {
                        let last = length.checked_sub(1);
                        last.is_some_and(|last| {
                            reached[last] && (wanted == '?' || wanted == text[last])
                        })
                    }
                })
                .collect();
        }
        reached[text.len()]
    }

    /// A pattern, and a text that is made to match it or to come near. Runs cross the ends of blocks.
    fn pattern_and_text() -> impl Strategy<Value = (String, String)> {
        let run = |pattern: &'static str, text: &'static str| {
            (1..70_usize).prop_map(move |length| (pattern.repeat(length), text.repeat(length)))
        };
        let part = prop_oneof![
            4 => run("a", "a"),
            1 => run("한", "한"),
            1 => run("?", "a"),
            1 => run("?", "é"),
            1 => run("a?", "a한"),
            2 => "[aé한b]{0,40}".prop_map(|text| ("*".to_owned(), text)),
            1 => Just(("**".to_owned(), "a".to_owned())),
            1 => Just(("b".to_owned(), "a".to_owned())),
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.into_iter().unzip())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn both_ways_of_matching_agree_with_the_obvious_one((pattern, text) in pattern_and_text()) {
            let matches = matches_slowly(&pattern, &text);
            prop_assert_eq!(super::matches(pattern.as_bytes(), text.as_bytes()), matches);
            let anywhere = matches_slowly(&format!("*{pattern}"), &text);
            prop_assert_eq!(ends_in(pattern.as_bytes(), text.as_bytes()).0, anywhere);
        }
    }

    /// Each was made to make the greedy search compare the most.
    #[test]
    fn no_pattern_and_no_text_take_more_than_some_steps_for_each_byte_of_the_text() {
        let many = |text: &str, length: usize| text.repeat(length / text.len() + 1);
        for length in [255, 1_000, 10_000] {
            for pattern in [
                format!("*{}b?", many("a", length)),
                format!("*{}?{}b*", many("a", length / 2), many("a", length / 2)),
                format!("*{}b*", many("a?", length)),
                format!("*{}b*", many("?", length)),
                format!("*{}b?", many("a*", length)),
                format!("*{}b*", many("aaaaaaaaaaaaaaaa?aaaaaaaab*", length)),
                format!("?*{}?b*a?", many("한", length)),
            ] {
                for text in ["a", "한", "aaaaaaaaaaaaaaaab", "aé", "ab"] {
                    for text_length in [length, 1_024, 20_000] {
                        let text = many(text, text_length);
                        let (_, steps) = matches_in_steps(pattern.as_bytes(), text.as_bytes());
                        let most = IN_VAIN + 3 + pattern.len() / 64;
                        let pattern = pattern.get(..60).unwrap_or_default();
                        assert!(
                            steps <= most * text.len() + length,
                            "{steps} steps: {pattern}.. in {} bytes",
                            text.len()
                        );
                    }
                }
            }
        }
    }
}
