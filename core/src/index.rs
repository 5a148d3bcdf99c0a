//! Typed indices: the index of a key cannot be taken for that of a message.

/// Defines the type of an index into one kind of list: four bytes, as a flush may hold millions.
macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The index of the item at this place, counted from 0.
            ///
            /// # Panics
            /// If the list has more than 2^32 items.
            pub fn new(place: usize) -> Self {
                assert!(
                    place <= u32::MAX as usize,
                    concat!(stringify!($name), " {} is out of range"),
                    place
                );
                Self(place as u32)
            }

            /// The place in the list, counted from 0.
            pub fn get(self) -> usize {
                self.0 as usize
            }
        }
    };
}

pub(crate) use index;
