//! As much XML as the stand-in speaks: elements with text or children, attributes ignored.

use std::fmt;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

/// The namespace of every document.
pub const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

/// An element with its text and its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// All its text, put together. White space counts.
    pub text: String,
    /// Its children in order.
    pub children: Vec<Element>,
}

/// What is wrong with a document.
#[derive(Debug)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed XML: {}", self.0)
    }
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// An element of text.
    pub fn of(name: &str, text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            ..Self::new(name)
        }
    }

    /// CloudFront's lists: a quantity, and the items unless there are none.
    pub fn list(name: &str, items: Vec<Element>) -> Self {
        Self::new(name).quantity(items)
    }

    /// A list of texts.
    pub fn text_list<T: ToString>(name: &str, item: &str, texts: &[T]) -> Self {
        let items = texts.iter().map(|text| Self::of(item, text.to_string()));
        Self::list(name, items.collect())
    }

    /// Adds a child.
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// Adds children.
    pub fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    /// Adds a child of text.
    pub fn text(self, name: &str, text: impl ToString) -> Self {
        self.with(Self::of(name, text))
    }

    /// Adds a child of text, if there is one.
    pub fn maybe(self, name: &str, text: Option<impl ToString>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// Adds `Quantity`, and `Items` unless there are none.
    pub fn quantity(self, items: Vec<Element>) -> Self {
        let list = self.text("Quantity", items.len());
        if items.is_empty() {
            return list;
        }
        list.with(Self::new("Items").with_all(items))
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The texts of all children of this name.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let named = self.children.iter().filter(|child| child.name == name);
        named.map(|child| child.text.clone()).collect()
    }

    /// A whole document with this element as its root.
    pub fn document(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\"?>\n");
        self.write(&mut out, &format!(" xmlns=\"{NAMESPACE}\""));
        out
    }

    fn write(&self, out: &mut String, attributes: &str) {
        let name = &self.name;
        out.push_str(&format!("<{name}{attributes}>"));
        out.push_str(&escape(&self.text));
        for child in &self.children {
            child.write(out, "");
        }
        out.push_str(&format!("</{name}>"));
    }

    /// Reads a document.
    pub fn read(document: &[u8]) -> Result<Self, Malformed> {
        let malformed = |error: &dyn fmt::Display| Malformed(error.to_string());
        let document = std::str::from_utf8(document).map_err(|error| malformed(&error))?;
        let mut reader = Reader::from_str(document);
        // The first is no element: it holds the root.
        let mut open = vec![Element::default()];
        loop {
            let event = reader.read_event().map_err(|error| malformed(&error))?;
            let top = open.len() - 1;
            match event {
                Event::Start(start) => open.push(named(start.local_name().as_ref())),
                Event::Empty(start) => {
                    let child = named(start.local_name().as_ref());
                    open[top].children.push(child);
                }
                Event::End(_) => {
                    let child = open.remove(top);
                    open[top - 1].children.push(child);
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(|error| malformed(&error))?;
                    open[top].text.push_str(&text);
                }
                Event::CData(text) => {
                    let text = text.decode().map_err(|error| malformed(&error))?;
                    open[top].text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|error| malformed(&error))?;
                    match reference.resolve_char_ref() {
                        Ok(Some(character)) => open[top].text.push(character),
                        Ok(None) => open[top].text.push_str(
                            resolve_predefined_entity(&name)
                                .ok_or_else(|| malformed(&format!("entity {name}")))?,
                        ),
                        Err(error) => return Err(malformed(&error)),
                    }
                }
                Event::Eof if top == 0 => break,
                Event::Eof => return Err(malformed(&"it ends within an element")),
                _ => {}
            }
        }
        let root = open.remove(0).children.pop();
        root.ok_or_else(|| malformed(&"no root element"))
    }
}

fn named(name: &[u8]) -> Element {
    Element::new(String::from_utf8_lossy(name))
}
