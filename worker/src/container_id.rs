//! Which Docker container this process runs in, found without asking Docker.

use std::fs;

use clb_protocol::ContainerId;

/// Digits of a container's full id.
const ID_LENGTH: usize = 64;

/// The full id of this container, or the host's name where there is no container.
pub(crate) fn find() -> ContainerId {
    let id = fs::read_to_string("/proc/self/mountinfo").ok().and_then(|mounts| in_mountinfo(&mounts));
    let host = || fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    id.or_else(host).unwrap_or_else(|| "unknown".to_owned()).into()
}

/// Docker mounts `/etc/hostname` and its like from a folder that is named by the container's id.
fn in_mountinfo(mounts: &str) -> Option<String> {
    let is_id = |part: &&str| {
        part.len() == ID_LENGTH && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(3))
        .filter(|root| root.contains("/containers/"))
        .find_map(|root| root.split('/').find(is_id))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_in_the_source_of_the_mounted_files() {
        let id = "3f".repeat(32);
        let mounts = format!(
            "1 0 0:1 / / ro,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/{other}\n\
             2 1 8:1 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw\n",
            other = "ab".repeat(32),
        );
        assert_eq!(in_mountinfo(&mounts), Some(id));
    }

    #[test]
    fn outside_of_a_container_there_is_none() {
        assert_eq!(in_mountinfo("1 0 8:1 / / rw - ext4 /dev/vda rw\n\n"), None);
    }
}
