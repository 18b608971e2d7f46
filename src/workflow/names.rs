//! Typed constants: what crosses a process has a name and a type, in one place.

use std::fmt;
use std::marker::PhantomData;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident < $($t:ident),+ >) => {
        $(#[$doc])*
        pub struct $name<$($t),+> {
            name: &'static str,
            _types: PhantomData<fn($($t),+)>,
        }
        impl<$($t),+> $name<$($t),+> {
            /// Names it, with JSON payloads.
            pub const fn new(name: &'static str) -> Self {
                Self { name, _types: PhantomData }
            }
            /// Its name.
            pub const fn name(&self) -> &'static str {
                self.name
            }
        }
        impl<$($t),+> Clone for $name<$($t),+> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<$($t),+> Copy for $name<$($t),+> {}
        impl<$($t),+> fmt::Debug for $name<$($t),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.name)
            }
        }
    };
}

name! {
    /// A workflow: takes an `I`, returns an `O`.
    ///
    /// ```
    /// use sakia::Workflow;
    /// const GREET: Workflow<String, usize> = Workflow::new("greet");
    /// assert_eq!(GREET.name(), "greet");
    /// ```
    Workflow<I, O>
}
name! {
    /// A signal with a payload of type `T`, sent to a running instance.
    Signal<T>
}
name! {
    /// A Kafka topic of yours, with keys of type `K` and values of type `V`.
    Topic<K, V>
}
