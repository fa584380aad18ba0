//! The values of the configuration that are more than a text or a number, parsed as they are read.

mod addresses;
mod amounts;
mod names;
mod words;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

pub use amounts::Size;
pub(super) use amounts::{Count, Mode, Period};
pub use names::channel_glob;
pub(super) use names::{ChannelTemplate, Group, Names, Token};
pub(super) use words::{Durability, StoreKind};

/// A value that is written as text, or as a whole number where that makes sense too.
pub(in crate::config) trait Written: Sized {
    /// What belongs here, with an example, as in "expected …".
    const EXPECTED: &'static str;

    /// # Errors
    /// What is wrong with the text.
    fn from_text(text: &str) -> Result<Self, String>;

    /// `None` if a number is none of the ways to write it.
    fn from_number(_number: i64) -> Option<Result<Self, String>> {
        None
    }
}

/// Reads a [`Written`] value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct As<T>(pub(in crate::config) T);

impl<'de, T: Written> Deserialize<'de> for As<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData)).map(As)
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match T::from_number(number) {
            Some(result) => result.map_err(E::custom),
            None => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
        }
    }
}

/// One value or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct List<T>(pub(in crate::config) Vec<T>);

impl<'de, T: Written> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lister<T>(PhantomData<T>);

        impl<'de, T: Written> Visitor<'de> for Lister<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list, each {}", T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List<T>, E> {
                T::from_text(text).map(|one| List(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(As(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }

        deserializer.deserialize_any(Lister(PhantomData))
    }
}

/// What stands where [`Tables`] are expected.
pub(in crate::config) const TABLES: &str = "a list of tables";

/// Tables under one name, written `[[name]]`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Tables<T>(pub(in crate::config) Vec<T>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Rows<T> {
            type Value = Tables<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(TABLES)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tables<T>, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = items.next_element()? {
                    rows.push(row);
                }
                Ok(Tables(rows))
            }
        }

        deserializer.deserialize_seq(Rows(PhantomData))
    }
}
