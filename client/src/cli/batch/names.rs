//! Names that follow from what is submitted, so that the same batch twice is the same tasks.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use clb_client::protocol::TaskId;
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

const BUFFER: usize = 256 << 10;
const GROUP_BYTES: usize = 5;

/// The group of a file that can be read twice; none for what comes only once.
pub(super) fn group_of(path: &Path) -> Result<Option<String>, Failure> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let failed = |source| Failure::Read { name: path.display().to_string(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let digits: Vec<String> =
        hash.finalize().iter().take(GROUP_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(format!("batch-{}", digits.concat())))
}

/// The id of a line of a group: in the place of the time, what all of the group have in common.
pub(in crate::cli) fn id_of(group: &str, number: u64, line: &[u8]) -> TaskId {
    let common = Sha256::digest(group);
    let own = Sha256::new()
        .chain_update((group.len() as u64).to_be_bytes())
        .chain_update(group)
        .chain_update(number.to_be_bytes())
        .chain_update(line)
        .finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&common[..6]);
    bytes[6..].copy_from_slice(&own[..10]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    TaskId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_version_7_and_follows_from_group_place_and_content() {
        let id = id_of("g", 1, b"{}");
        assert_eq!(id.to_string().parse(), Ok(id), "the cluster takes it");
        assert_eq!(id, id_of("g", 1, b"{}"));
        for other in [id_of("h", 1, b"{}"), id_of("g", 2, b"{}"), id_of("g", 1, b"{ }")] {
            assert_ne!(id, other);
        }
    }
}
