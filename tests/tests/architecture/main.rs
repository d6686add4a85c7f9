//! What the parts may know of each other, how long a file may be, and which files the documents name. Reads the
//! sources and the manifests, and needs no engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "everything here is a test or serves one")]

mod imports;
mod named_files;
mod packages;
mod sizes;
mod sources;
mod words;
