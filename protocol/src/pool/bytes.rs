//! An amount of memory, written as a number of bytes or as text with k, m or g behind it.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim().to_ascii_lowercase();
        let (digits, unit) = match text.char_indices().last() {
            Some((at, 'k')) => (&text[..at], 1 << 10),
            Some((at, 'm')) => (&text[..at], 1 << 20),
            Some((at, 'g')) => (&text[..at], 1 << 30),
            _ => (text.as_str(), 1),
        };
        let number: u64 = digits.parse().map_err(|_| "must be a number of bytes, or text with k, m or g")?;
        number.checked_mul(unit).map(Self).ok_or("is too large")
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or text with k, m or g")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Bytes, E> {
                Ok(Bytes(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
                u64::try_from(number).map(Bytes).map_err(|_| E::custom("must not be negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("256m".parse(), Ok(Bytes(256 << 20)));
        assert_eq!("1G".parse(), Ok(Bytes(1 << 30)));
        assert_eq!("7".parse(), Ok(Bytes(7)));
        for bad in ["", "m", "-1", "99999999999999g"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_has_them_as_text_or_number() {
        assert_eq!(serde_json::from_str::<Bytes>(r#""1k""#).unwrap(), Bytes(1024));
        assert_eq!(serde_json::from_str::<Bytes>("1024").unwrap(), Bytes(1024));
        assert!(serde_json::from_str::<Bytes>("-1").is_err());
    }
}
