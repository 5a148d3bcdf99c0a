//! What S3 refuses as a bucket's tag, though emulators take it.

/// The code of the error that the value of a tag is refused with, if it is (API reference,
/// PutBucketTagging).
pub fn refusal(value: &str) -> Option<&'static str> {
    let is_legal = |character: char| {
        character.is_alphanumeric() || character.is_whitespace() || "_.:/=+-@".contains(character)
    };
    let fits = value.chars().count() <= 256;
    (!fits || !value.chars().all(is_legal)).then_some("InvalidTag")
}
