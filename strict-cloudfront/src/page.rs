//! Lists come in pages.

use super::rules::{self, Refusal};
use super::xml::Element;

/// A page holds at most so many items, whatever the client asks for.
pub const LIMIT: usize = 100;

/// A part of a list. A marker is the id of the last item the client has seen.
pub struct Page<'a, T> {
    /// Its items.
    pub items: &'a [T],
    marker: String,
    /// Where the next page begins, if there is one.
    pub next_marker: Option<String>,
    max_items: usize,
}

impl<'a, T> Page<'a, T> {
    /// The page behind the marker.
    pub fn of(
        all: &'a [T],
        id: impl Fn(&T) -> &String,
        marker: Option<&str>,
        max_items: Option<&str>,
    ) -> Result<Self, Refusal> {
        let max_items = match max_items.map(str::parse) {
            None => LIMIT,
            Some(Ok(max_items @ 1..)) => LIMIT.min(max_items),
            Some(_) => return Err(rules::invalid_argument("MaxItems is no positive number.")),
        };
        let marker = marker.unwrap_or_default();
        let start = match marker {
            "" => 0,
            _ => all
                .iter()
                .position(|item| id(item) == marker)
                .map(|position| position + 1)
                .ok_or_else(|| rules::invalid_argument("The specified marker is invalid."))?,
        };
        let end = all.len().min(start + max_items);
        let items = &all[start..end];
        Ok(Self {
            items,
            marker: marker.to_owned(),
            next_marker: items
                .last()
                .filter(|_| end < all.len())
                .map(|last| id(last).clone()),
            max_items,
        })
    }

    /// The page as an element: `items` are its items as elements.
    pub fn list(&self, name: &str, items: Vec<Element>) -> Element {
        Element::new(name)
            .text("Marker", &self.marker)
            .maybe("NextMarker", self.next_marker.as_ref())
            .text("MaxItems", self.max_items)
            .text("IsTruncated", self.next_marker.is_some())
            .quantity(items)
    }
}
